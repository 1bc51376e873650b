# shellcheck shell=bash disable=SC2015,SC2016 # remote commands are quoted here, expanded there
# What people do who are let in.

openclaw_version() {
    says "^OpenClaw ${OPENCLAW_VERSION//./\\.}( |$)" door openclaw --version
}

gateway_port() {
    says '^18789$' door openclaw config get gateway.port
}

configuration_valid() {
    says '[Vv]alid' door openclaw config validate
    local config
    config=$(door cat /claw/.openclaw/openclaw.json)
    jq -e --slurpfile seed image/openclaw.json '. as $config
        | all($seed[0] | paths(type != "object" and type != "array");
            . as $path | ($config | getpath($path)) == ($seed[0] | getpath($path)))
        and .gateway.trustedProxies == ["172.30.0.10"]
        and .gateway.controlUi.allowedOrigins == ["https://openclaw.fox-1.pomerium.app"]
        and .meta.lastTouchedVersion != null' <<<"$config" >/dev/null || {
        echo "$config"
        return 1
    }
}

# The configuration that the guide's repository ships, with the password that everybody knows and
# a choice of somebody's.
guide_data() {
    local home=$WORK/guide
    install -d -o 1001 -g 1001 "$home" "$home/.openclaw"
    cat >"$home/.openclaw/openclaw.json" <<END
{"gateway": {"port": 18789, "mode": "local", "bind": "lan",
  "auth": {"mode": "trusted-proxy", "token": "configure-gateway-token",
    "trustedProxy": {"userHeader": "X-Pomerium-Claim-Email"}},
  "controlUi": {"allowedOrigins": ["https://mine.example"]},
  "trustedProxies": [], "tailscale": {"mode": "off", "resetOnExit": false}},
 "agents": {"defaults": {"sandbox": {"mode": "all"}}}}
END
    chown 1001:1001 "$home/.openclaw/openclaw.json"
    local twice
    for twice in first second; do
        docker_ run --rm --network none -u claw -v "$home:/claw" -e POMERIUM_ADDRESS=172.30.0.10 \
            -e POMERIUM_CLUSTER_DOMAIN=fox-1.pomerium.app "$(image openclaw-gateway)" \
            entrypoint.sh configure >"$WORK/configure-$twice"
    done
    jq -e '.gateway.auth.token == null
        and .gateway.auth.trustedProxy == {"userHeader": "X-Pomerium-Claim-Email",
            "requiredHeaders": ["x-pomerium-jwt-assertion"]}
        and .gateway.trustedProxies == ["172.30.0.10"]
        and .gateway.controlUi.allowedOrigins == ["https://mine.example", "https://openclaw.fox-1.pomerium.app"]
        and .agents.defaults.sandbox.mode == "all" and .agents.defaults.sandbox.backend == "ssh"
        and .meta != null' "$home/.openclaw/openclaw.json" >/dev/null || {
        cat "$WORK/configure-first" "$home/.openclaw/openclaw.json"
        return 1
    }
    grep -Eq '^OPENCLAW_GATEWAY_PASSWORD=[A-Za-z0-9_-]{40,}$' "$home/.openclaw/.env"
    # The second time there is nothing to do.
    not grep . "$WORK/configure-second"
}

terminal() {
    local output command
    command=$(printf '%q ' "${ENGINE_NET[@]}" ssh -F none -o IdentitiesOnly=yes -i "$WORK/user" \
        -o UserKnownHostsFile="$WORK/known_hosts" -o LogLevel=ERROR -tt -p 2200 claw@openclaw@127.0.0.1 \
        'tty; stty size; sleep 4; stty size')
    # A terminal here, which gets another size while ssh runs: ssh tells the server.
    output=$(timeout 60 script -qec "stty rows 31 cols 97; (sleep 2; stty -F /dev/tty rows 40 cols 121) & $command" /dev/null | tr -d '\r')
    grep -q '/dev/pts/[0-9]*$' <<<"$output" && grep -q '31 97$' <<<"$output" && grep -qx '40 121' <<<"$output" || {
        echo "$output"
        return 1
    }
    # A login shell at a terminal, by hand.
    output=$(printf 'echo "home is $PWD, shell is $0"; exit 7\n' | door -tt || echo "status $?")
    grep -q 'home is /claw, shell is -bash' <<<"$output" && grep -q 'status 7' <<<"$output" || {
        echo "$output"
        return 1
    }
}

environment() {
    local output
    output=$(door env)
    local variable
    for variable in HOME=/claw USER=claw LOGNAME=claw SHELL=/bin/bash OPENCLAW_NO_RESPAWN=1 \
        POMERIUM_CLUSTER_DOMAIN=fox-1.pomerium.app \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; do
        grep -qx "$variable" <<<"$output" || {
            echo "no $variable in: $output"
            return 1
        }
    done
    not grep -i -E 'password|token|secret' <<<"$output"
}

exit_status() {
    local status=0 output errors
    output=$(door 'echo out; echo err >&2; exit 42' 2>"$WORK/errors") || status=$?
    errors=$(<"$WORK/errors")
    [[ $status/$output/$errors = 42/out/err ]] || {
        echo "$status/$output/$errors"
        return 1
    }
    status=0
    door 'kill -TERM $$' 2>/dev/null || status=$?
    [[ $status != 0 ]]
    head -c 3000000 /dev/urandom >"$WORK/random"
    [[ $(door 'cat' <"$WORK/random" | sha256sum) = "$(sha256sum <"$WORK/random")" ]]
}

# The stack runs with image/bastion.toml.
tunnels() {
    printf 'GET /healthz HTTP/1.0\r\n\r\n' >"$WORK/request"
    says '200 OK' door_with -W 127.0.0.1:18789 <"$WORK/request"
    refuses 'forwarding failed' door_with -W 127.0.0.1:22
    says '"event":"forward_prohibited"' logged forward_prohibited '22'
    says 'configuration is good' in_ openclaw-gateway bastion check-config
}

workspace_file() {
    # No mount inside a folder of claw's, who could put a link to anywhere in its place.
    says '^/workspace$' door 'readlink workspace'
    not in_ openclaw-gateway grep ' /claw/' /proc/self/mountinfo
    door 'cd workspace && date > before-down && stat -c "%U %n" before-down'
}
