# shellcheck shell=bash disable=SC2001,SC2015,SC2016 # remote commands are quoted here, expanded there
# What is looked at, each in a function of its own; a function that fails is a check that failed.
# They build on each other only where their order says so.

checks() {
    door_prepare
    outside_start
    section "through the stand-in, with the real ssh"
    check "openclaw --version" openclaw_version
    check "openclaw config get gateway.port" gateway_port
    check "the configuration is valid, and as shipped" configuration_valid
    check "what the guide's own image left is taken over, what people set is kept" guide_data
    check "a terminal, its size, and a new size" terminal
    check "environment: PATH, HOME, OPENCLAW_*" environment
    check "exit statuses, output and errors apart" exit_status
    check "tunnels, as the example of a configuration has them" tunnels
    check "a file in the workspace" workspace_file

    section "the gateway behind Pomerium's web route"
    check "a browser is asked to pair; ssh lists and approves it; it is in" device_pairing
    check "no entry without Pomerium's headers, from elsewhere, or of another origin" web_refusals

    section "who is refused, and why"
    check "another account" refuse_root
    check "no certificate" refuse_plain_key
    check "an expired certificate" refuse_expired
    check "a certificate of the sandbox's CA" refuse_sandbox_ca
    check "a certificate for somebody else" refuse_principal

    section "what claw cannot do"
    check "processes: who they are and what they may" processes
    check "read host keys, state, CA private keys" cannot_read
    check "kill or trace monitor, gate and entrypoint" cannot_kill
    check "write the trusted CA, the programs, the system" cannot_write
    check "write a line that passes for bastion's" cannot_forge
    check "listen on port 22" cannot_listen

    section "the sandbox"
    model_start
    check "openclaw sandbox explain, list; doctor" sandbox_commands
    check "a tool of the main session runs in the gateway" main_session
    check "a tool of another session runs in the sandbox" sandbox_file
    check "a command of another session runs in the sandbox" sandbox_exec
    check "it reaches nothing: gateway, host, internet, workspace" sandbox_reaches_nothing
    check "its certificate forwards nothing" sandbox_forwards_nothing
    check "its host key is verified" sandbox_host_key
    check "its CA opens nothing else" sandbox_processes

    section "kill -9"
    check "the gate: back within 2 s" kill_gate
    check "bastion: back within 2 s, and the gateway does not notice" kill_bastion
    check "a session: that connection ends, no other" kill_session
    check "as many processes as claw can have: both are back within 2 s, and people get in" flood_of_processes
    check "… that are busy: people get in" busy_flood
    check "as many as a subagent can have: the sandbox answers" flood_in_the_sandbox
    check "bastion that cannot start: tried less and less often, unhealthy, the gateway untouched" bastion_unable
    check "the gateway: the container is started again" kill_gateway
    check "the entrypoint: the container is started again" kill_entrypoint

    section "stop, down, up"
    check "docker stop is clean" stop_is_clean
    check "after down and up: file, host keys, password, configuration; no folder walked again" survives
    check "a gateway that hangs or ends as soon as it is started: people can log in, and stop is clean" time_to_mend
    outside_stop
}

section() {
    printf '\n== %s\n' "$1"
}

# check NAME FUNCTION
check() {
    local began=$SECONDS output status
    set +e
    output=$(
        set -e
        "$2" 2>&1
    )
    status=$?
    set -e
    if ((status == 0)); then
        printf '  ok    %s (%d s)\n' "$1" $((SECONDS - began))
        [[ -z $output ]] || sed 's/^/          /' <<<"$output"
    else
        printf '  FAIL  %s (%d s)\n' "$1" $((SECONDS - began))
        sed 's/^/        | /' <<<"$output"
        FAILED+=("$1")
    fi
}

# says PATTERN COMMAND…: it succeeds and its output has a line like that.
says() {
    local pattern=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    if ((status)) || ! grep -Eq -- "$pattern" <<<"$output"; then
        printf 'wanted /%s/ of: %s\nstatus %s: %s\n' "$pattern" "$*" "$status" "$output"
        return 1
    fi
}

# refuses PATTERN COMMAND…: it fails, with a line like that.
refuses() {
    local pattern=$1 output status=0
    shift
    output=$("$@" 2>&1 </dev/null) || status=$?
    if ((!status)) || ! grep -Eq -- "$pattern" <<<"$output"; then
        printf 'wanted a failure with /%s/ of: %s\nstatus %s: %s\n' "$pattern" "$*" "$status" "$output"
        return 1
    fi
}

# not COMMAND…: it fails; for use where `!` would be overlooked.
not() {
    if "$@"; then return 1; fi
}

# within SECONDS COMMAND…: until it succeeds; says after how long it did.
within() {
    local limit=$1 began now
    shift
    began=$(date +%s%3N)
    until "$@" >/dev/null 2>&1; do
        now=$(date +%s%3N)
        ((now - began < limit * 1000)) || {
            echo "not within $limit s: $*"
            return 1
        }
    done
    now=$(date +%s%3N)
    echo "after $((now - began)) ms"
}

# ---- ways in ---------------------------------------------------------------------------------

door_prepare() {
    ssh-keygen -q -t ed25519 -N '' -f "$WORK/user" -C 'a user'
    GATEWAY=$(address_in "${PROJECT}_main" openclaw-gateway)
    DOOR_OPTIONS=()
}

address_in() {
    docker_ inspect -f "{{(index .NetworkSettings.Networks \"$1\").IPAddress}}" "$(container "$2")"
}

# door COMMAND…: as users do, through the stand-in.
door() {
    "${ENGINE_NET[@]}" timeout 180 ssh -F none -o IdentitiesOnly=yes -i "$WORK/user" \
        -o UserKnownHostsFile="$WORK/known_hosts" -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR \
        "${DOOR_OPTIONS[@]}" -p 2200 "${LOGIN:-claw}@openclaw@127.0.0.1" "$@"
}

# door_with OPTION…: the same with options of ssh, and without a command.
door_with() {
    DOOR_OPTIONS+=("$@")
    door
}

# straight KEY COMMAND…: past the stand-in, with a certificate beside KEY, or none.
straight() {
    local key=$1
    shift
    "${ENGINE_NET[@]}" timeout 60 ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -i "$key" \
        -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "${LOGIN:-claw}@$GATEWAY" "$@"
}

# certified NAME ARGUMENTS…: a fresh key in $WORK/NAME with a certificate; prints its path.
certified() {
    local name=$1
    shift
    "$WORK/context/prebuilt/bastion-keygen" issue --out "$WORK/$name" --key-id "$name" "$@" >/dev/null
    echo "$WORK/$name"
}

# The newest line of bastion's log that has this event and this text.
logged() {
    compose logs --no-color --no-log-prefix openclaw-gateway |
        jq -Rc --arg event "$1" --arg text "$2" 'fromjson? | objects
            | select(.event == $event) | select(tojson | contains($text))' | tail -n 1
}

# ---- through the stand-in --------------------------------------------------------------------

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
    door 'cd workspace && date > before-down && stat -c "%U %n" before-down'
}

# ---- the web route ---------------------------------------------------------------------------

# browser ADDRESS ORIGIN HEADER…: a browser's WebSocket from that address of the network.
browser() {
    local address=$1
    shift
    docker_ run --rm --init -u claw --network "${PROJECT}_main" --ip "$address" \
        -v "$WORK/browser:/browser" -v "$ROOT/image/test/browser.mjs:/browser.mjs:ro" \
        "$(image openclaw-gateway)" node /browser.mjs /browser/key "$@"
}

POMERIUM_HEADERS=(x-forwarded-for=198.51.100.7 x-forwarded-proto=https
    x-pomerium-claim-email=somebody@example.com x-pomerium-jwt-assertion=none)
WEB_ORIGIN=https://openclaw.fox-1.pomerium.app

device_pairing() {
    install -d -m 777 "$WORK/browser"
    local answer request
    answer=$(browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}")
    request=$(jq -re 'select(.details.code == "PAIRING_REQUIRED").details.requestId' <<<"$answer") || {
        echo "$answer"
        return 1
    }
    says "$request" door openclaw devices list
    says . door openclaw devices approve "$request"
    answer=$(browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}")
    jq -e .ok <<<"$answer" >/dev/null || {
        echo "$answer"
        return 1
    }
}

web_refusals() {
    says 'CONTROL_UI_ORIGIN_NOT_ALLOWED' \
        browser 172.30.0.10 https://elsewhere.example "${POMERIUM_HEADERS[@]}"
    says 'trusted_proxy_missing_header_x-pomerium-jwt-assertion' \
        browser 172.30.0.10 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]:0:3}"
    # Refused before there is a WebSocket.
    says '"error":"' \
        browser 172.30.0.99 "$WEB_ORIGIN" "${POMERIUM_HEADERS[@]}"
}

# ---- refusals --------------------------------------------------------------------------------

refuse_root() {
    LOGIN=root refuses 'no account for the login name "root"' door id
    says '"verdict":"refused".*"code":"unknown_login"' logged login '"login":"root"'
}

refuse_plain_key() {
    refuses 'Permission denied' straight "$WORK/user" id
}

CA_KEYS=()
pomerium_ca() {
    CA_KEYS=(--ca "$WORK/project/pomerium_user_ca_key")
}

refuse_expired() {
    pomerium_ca
    local key
    key=$(certified expired "${CA_KEYS[@]}" --principal claw --validity 20200101Z:20200102Z)
    refuses 'expired|valid' straight "$key" id
    logged login '"key_id":"expired"' | jq -e '.verdict == "refused" and .reason.code == "expired"' >/dev/null
    logged login '"key_id":"expired"' | jq -r .reason.detail
}

refuse_sandbox_ca() {
    local key
    key=$(certified other --ca "$WORK/project/sandbox_ca_key" --principal claw)
    refuses 'Permission denied' straight "$key" id
    logged login '"key_id":"other"' | jq -e '.verdict == "refused" and .reason.code == "untrusted_authority"' >/dev/null
    logged login '"key_id":"other"' | jq -r .reason.detail
}

refuse_principal() {
    pomerium_ca
    local key
    key=$(certified dobby "${CA_KEYS[@]}" --principal dobby)
    refuses 'dobby|principal|claw' straight "$key" id
    logged login '"key_id":"dobby"' | jq -r .reason.detail
    key=$(certified good "${CA_KEYS[@]}" --principal claw)
    says '^claw$' straight "$key" id -un
}

# ---- what claw cannot do ---------------------------------------------------------------------

monitor_pid() { in_ openclaw-gateway pgrep -o -u root -x bastion; }
gate_pid() { in_ openclaw-gateway pgrep -o -u bastion; }
openclaw_pid() { in_ openclaw-gateway pgrep -o -u claw -f '^openclaw-gateway'; }
entrypoint_pid() { in_ openclaw-gateway pgrep -o -u root -f entrypoint.sh -P 1; }

status_of() {
    in_ openclaw-gateway sh -c "sed -n 's/^$2:[[:space:]]*//p' /proc/$1/status"
}

processes() {
    local monitor gate openclaw
    monitor=$(monitor_pid) gate=$(gate_pid) openclaw=$(openclaw_pid)
    # What the gateway's processes may take, which the flood below starts from.
    says '^ *10$' in_ openclaw-gateway ps -o ni= -p "$openclaw"
    says 'Max processes +1000 +1000' in_ openclaw-gateway cat "/proc/$openclaw/limits"
    # SETUID, SETGID, KILL and SYS_CHROOT, and no more, once the port is bound.
    [[ $(status_of "$monitor" CapEff) = 00000000000400e0 ]]
    [[ $(status_of "$monitor" CapPrm) = 00000000000400e0 ]]
    [[ $(status_of "$gate" CapEff) = 0000000000000000 ]]
    [[ $(status_of "$openclaw" CapEff) = 0000000000000000 ]]
    [[ $(status_of "$gate" Seccomp) = 2 ]]
    local process
    for process in $monitor $gate $openclaw; do
        [[ $(status_of "$process" NoNewPrivs) = 1 ]]
    done
    in_ openclaw-gateway sh -c 'ps -o user,comm,rss -p "$1,$2,$3"' sh "$monitor" "$gate" "$openclaw"
    # No SSH server but bastion, and no way to be root.
    refuses . door 'command -v sshd || ls /usr/sbin/sshd'
    refuses . door 'sudo -n true || su -c true root'
    says '"empty_root":true,"landlock":"Full","system_calls":true' logged listening ''
}

cannot_read() {
    refuses 'denied' door 'cat /var/lib/bastion/ssh_host_ed25519_key'
    refuses 'denied' door 'ls /var/lib/bastion'
    # The one private key that claw has a use for.
    says '^/etc/openclaw-sandbox/id_ed25519$' door \
        'grep -rls -e "BEGIN OPENSSH PRIVATE KEY" -e "BEGIN PRIVATE KEY" /etc /var /run /claw/workspace /usr/local/share; true'
    [[ $(door 'grep -rls -e "BEGIN OPENSSH PRIVATE KEY" -e "BEGIN PRIVATE KEY" /etc /var /run /usr/local/share; true' | wc -l) = 1 ]]
    local process file
    for process in $(monitor_pid) $(gate_pid) $(entrypoint_pid); do
        for file in environ mem maps fd/0; do
            refuses 'denied|not permitted' door "cat /proc/$process/$file"
        done
    done
}

cannot_kill() {
    local process signal
    for process in $(monitor_pid) $(gate_pid) $(entrypoint_pid) 1; do
        for signal in KILL STOP HUP 0; do
            refuses 'not permitted' door "bash -c 'kill -$signal $process'"
        done
        # ptrace(PTRACE_ATTACH), which has another number where the machine is an arm64.
        refuses 'not permitted' door \
            "perl -e 'syscall(\$ARGV[0] =~ /arm|aarch/ ? 117 : 101, 16, $process, 0, 0) == 0 or die \$!' \$(uname -m)"
    done
}

cannot_write() {
    local file
    for file in /var/lib/pomerium/pomerium_user_ca_key.pub /usr/local/bin/bastion \
        /usr/local/bin/entrypoint.sh /usr/local/bin/openclaw /etc/passwd; do
        refuses 'Read-only|denied' door "bash -c 'echo x >> $file'"
        refuses 'Read-only|denied|busy' door "mv $file $file.x"
    done
    refuses 'Read-only|denied' door 'mkdir /etc/x'
    refuses 'Read-only|denied' door 'touch /etc/bastion/x'
    says '^root 755$' door 'stat -c "%U %a" /usr/local/bin/bastion'
    refuses 'denied' door 'touch /var/lib/bastion/x'
    # Nor by the engine's own root, which shows that it is the mount, and not the owner.
    refuses 'Read-only' in_ openclaw-gateway sh -c 'echo x >> /var/lib/pomerium/pomerium_user_ca_key.pub'
}

cannot_forge() {
    local process
    for process in $(monitor_pid) $(openclaw_pid) $(entrypoint_pid) 1; do
        refuses 'denied' door "bash -c 'echo x > /proc/$process/fd/1'"
    done
    # What the gateway itself says is marked; what is not marked is bastion's or the entrypoint's.
    compose logs --no-color --no-log-prefix openclaw-gateway >"$WORK/log"
    grep -q '^openclaw: .*\[gateway\] ready' "$WORK/log"
    not grep -v -E '^(\{"time":|openclaw: |entrypoint: )' "$WORK/log"
    # However long a line is, it is marked wherever another's line could come between; and nothing
    # in it moves a cursor.
    { printf 'x\r{"time":1}\x1b[2K\n'; head -c 100000 /dev/zero | tr '\0' x; } |
        docker_ exec -i -u claw "$(container openclaw-gateway)" \
            perl /usr/local/share/openclaw-gateway/mark-lines.pl openclaw >"$WORK/marked"
    not grep -v '^openclaw: ' "$WORK/marked"
    not grep -P '[\x00-\x09\x0b-\x1f]' "$WORK/marked"
    not grep -E '^.{4096}' "$WORK/marked"
    [[ $(wc -l <"$WORK/marked") = 26 ]]
}

cannot_listen() {
    refuses 'EACCES' door "node -e 'require(\"net\").createServer().listen(23)'"
}

# ---- the sandbox -----------------------------------------------------------------------------

model_start() {
    local gateway
    gateway=$(container openclaw-gateway)
    docker_ exec -i -u claw "$gateway" sh -c 'cat >/tmp/model.mjs' <image/test/model.mjs
    docker_ exec -d -u claw "$gateway" node /tmp/model.mjs
    door openclaw config patch --stdin >/dev/null <<'END'
{"models": {"mode": "merge", "providers": {"test": {"baseUrl": "http://127.0.0.1:9876/v1",
  "apiKey": "none", "api": "openai-completions", "models": [{"id": "one", "name": "One",
  "reasoning": false, "input": ["text"], "contextWindow": 120000, "maxTokens": 8192,
  "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}]}}},
 "agents": {"defaults": {"model": {"primary": "test/one"}}}}
END
}

# call SESSION TOOL JSON: a turn of that session in which the model calls that tool.
call() {
    door "openclaw agent --session-key $(printf %q "$1") --message $(printf %q "CALL $2 $3")"
}

sandbox_commands() {
    local output
    output=$(door openclaw sandbox explain --session agent:main:other)
    grep -q 'backend: ssh' <<<"$output" && grep -q 'runtime: sandboxed' <<<"$output" || {
        echo "$output"
        return 1
    }
    says 'runtime: direct' door openclaw sandbox explain --session agent:main:main
    says 'Total: ' door openclaw sandbox list
    output=$(door 'openclaw doctor --non-interactive 2>&1')
    grep -q 'Doctor complete' <<<"$output"
    not grep -i -E 'docker|podman|sandbox (backend|image).*(missing|unavailable)' <<<"$output"
}

main_session() {
    says 'RESULT' call agent:main:main write '{"path": "main.txt", "content": "main"}'
    says '^claw$' door 'stat -c %U workspace/main.txt'
}

sandbox_file() {
    says 'RESULT.*Successfully' call agent:main:other write '{"path": "other.txt", "content": "other"}'
    says '^other$' docker_ exec -u sandbox "$(container sandbox)" sh -c 'cat /workspace/*/workspace/other.txt'
    refuses . door 'ls workspace/other.txt'
    says 'RESULT.*other' call agent:main:other read '{"path": "other.txt"}'
    says 'running' door openclaw sandbox list
}

# The guide's list denies `exec` to these sessions. Whoever takes it off finds it fenced in.
sandbox_exec() {
    local deny
    deny=$(jq -c '.tools.sandbox.tools.deny - ["exec", "process"]' image/openclaw.json)
    door "openclaw config set tools.sandbox.tools.deny '$deny' --strict-json" >/dev/null
    local output
    output=$(call agent:main:runs exec '{"command": "echo user $(id -un), host $(hostname), in $PWD"}')
    grep "RESULT.*user sandbox, host $(docker_ inspect -f '{{.Config.Hostname}}' "$(container sandbox)"), in /workspace/" <<<"$output" || {
        echo "$output"
        return 1
    }
}

# A machine that is not ours, beyond the engine's network, and a service of the engine's machine.
outside_start() {
    [[ $ENGINE = own ]] || return 0
    setpriv --pdeathsig KILL unshare --net sleep infinity &
    OUTSIDE=$!
    sleep 0.5
    "${ENGINE_NET[@]}" ip link add outside type veth peer name eth0 netns "$OUTSIDE"
    "${ENGINE_NET[@]}" ip address add 203.0.113.1/24 dev outside
    "${ENGINE_NET[@]}" ip link set outside up
    nsenter --net="/proc/$OUTSIDE/ns/net" sh -c \
        'ip link set lo up && ip address add 203.0.113.2/24 dev eth0 && ip link set eth0 up'
    "${ENGINE_NET[@]}" ip route add default via 203.0.113.2
    nsenter --net="/proc/$OUTSIDE/ns/net" perl "$HERE/test/listen.pl" 203.0.113.2 80 &
    OUTSIDE_SERVICE=$!
    "${ENGINE_NET[@]}" perl "$HERE/test/listen.pl" 0.0.0.0 9999 &
    HOST_SERVICE=$!
}

outside_stop() {
    local process
    for process in ${OUTSIDE_SERVICE:-} ${HOST_SERVICE:-} ${OUTSIDE:-}; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    OUTSIDE='' OUTSIDE_SERVICE='' HOST_SERVICE=''
    return 0
}

bridge_address() {
    docker_ network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "${PROJECT}_$1"
}

sandbox_reaches_nothing() {
    [[ $ENGINE = own ]] || {
        echo "only the gateway was tried: with an engine of the machine there is no outside of ours"
    }
    local gateway host outside=203.0.113.2
    gateway=$(address_in "${PROJECT}_sandbox" openclaw-gateway)
    host=$(bridge_address sandbox)
    # The services are there: the gateway, which has a network, reaches them.
    if [[ $ENGINE = own ]]; then
        local where
        for where in "$outside 80" "$(bridge_address main) 9999"; do
            says 'here' door "timeout 5 bash -c 'exec 3<>/dev/tcp/${where/ //}; head -c 4 <&3'"
        done
    fi
    says 'SSH-2.0' door "timeout 5 bash -c 'exec 3<>/dev/tcp/$gateway/22; head -c 7 <&3'"
    local program output
    program=$(sed "s/GATEWAY/$gateway/g; s/HOST/$host/g; s/OUTSIDE/$outside/g" "$HERE/test/reach.py" | base64 -w 0)
    output=$(call agent:main:runs exec "{\"command\": \"echo $program | base64 -d | python3 -; ls -d /claw /var/lib/pomerium /etc/openclaw-sandbox 2>&1; cat /var/lib/bastion/ssh_host_ed25519_key 2>&1 | head -n 1\"}")
    echo "$output"
    grep -q 'tried 9, reached 0' <<<"$output"
    [[ $(grep -c 'No such file' <<<"$output") = 3 ]]
    grep -q 'ssh_host_ed25519_key: Permission denied' <<<"$output"
    # Without bastion's fence, the network alone: no way out of it.
    if [[ $ENGINE = own ]]; then
        echo "with the network's fence alone:"
        docker_ exec -u sandbox "$(container sandbox)" sh -c "echo $program | base64 -d | python3 -" | tee "$WORK/reach"
        grep -q "$outside:80/tcp: no" "$WORK/reach"
    fi
}

# sandbox_ssh ARGUMENTS…: OpenClaw's way into the sandbox, by hand.
sandbox_ssh() {
    door "ssh -F none -o BatchMode=yes -o UserKnownHostsFile=${KNOWN_HOSTS:-/etc/openclaw-sandbox/known_hosts} \
        -o StrictHostKeyChecking=yes -i /etc/openclaw-sandbox/id_ed25519 -p 2222 $*"
}

sandbox_forwards_nothing() {
    says '^sandbox$' sandbox_ssh sandbox@sandbox id -un
    refuses 'prohibited|refused|not permit|failed' sandbox_ssh -W 127.0.0.1:2222 sandbox@sandbox
    refuses 'fail|refused' sandbox_ssh -o ExitOnForwardFailure=yes -R 9000:127.0.0.1:22 sandbox@sandbox true
    says '^no agent$' sandbox_ssh -A sandbox@sandbox "'test -n \"\$SSH_AUTH_SOCK\" || echo no agent'"
    refuses 'no account|Permission denied' sandbox_ssh root@sandbox id
}

sandbox_host_key() {
    door 'sed "s/AAAA[A-Za-z0-9+\/=]*/AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/; s/ ssh-rsa\| ecdsa[^ ]*/ ssh-ed25519/" \
        /etc/openclaw-sandbox/known_hosts >/tmp/known_hosts'
    KNOWN_HOSTS=/tmp/known_hosts refuses 'verification failed|has changed|No .* host key is known' sandbox_ssh sandbox@sandbox true
}

sandbox_processes() {
    says '00000000000400e0' in_ sandbox sh -c 'grep CapEff /proc/$(python3 -c "
import os
print(next(p for p in os.listdir(\"/proc\") if p.isdigit() and open(f\"/proc/{p}/comm\").read().strip() == \"bastion\" and os.stat(f\"/proc/{p}\").st_uid == 0))")/status'
    refuses 'Read-only' in_ sandbox touch /x
    says 'true' docker_ network inspect -f '{{.Internal}}' "${PROJECT}_sandbox"
    # The certificate of the sandbox does not open the gateway, as the refusals show; nor does
    # Pomerium's open the sandbox.
    pomerium_ca
    local key
    key=$(certified pomerium-for-sandbox "${CA_KEYS[@]}" --principal sandbox)
    refuses 'Permission denied' "${ENGINE_NET[@]}" ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i "$key" \
        -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -p 2222 \
        "sandbox@$(address_in "${PROJECT}_sandbox" sandbox)" id
}

# ---- kill -9 ---------------------------------------------------------------------------------

ssh_answers() {
    in_ openclaw-gateway bastion healthcheck --timeout 1s
}

soon() {
    [[ $(grep -o '[0-9]*' <<<"$1") -le 2000 ]]
}

# killed_is_back WHOSE_PID: it is killed, and bastion answers again within 2 s. A machine that is
# busy with other things gets three tries.
killed_is_back() {
    local answer _
    for _ in 1 2 3; do
        in_ openclaw-gateway kill -KILL "$("$1")"
        answer=$(within 10 ssh_answers) || {
            echo "$answer"
            return 1
        }
        echo "$1: $answer"
        if soon "${answer#after }"; then return 0; fi
    done
    return 1
}

kill_gate() {
    local gate openclaw
    gate=$(gate_pid) openclaw=$(openclaw_pid)
    killed_is_back gate_pid
    [[ $(gate_pid) != "$gate" && $(openclaw_pid) = "$openclaw" ]]
    says '^claw$' door id -un
}

kill_bastion() {
    local monitor openclaw
    monitor=$(monitor_pid) openclaw=$(openclaw_pid)
    door 'sleep 1000' >/dev/null 2>&1 &
    local session=$!
    sleep 2
    killed_is_back monitor_pid
    [[ $(monitor_pid) != "$monitor" && $(openclaw_pid) = "$openclaw" ]]
    # What ran in it has ended with it, and nothing of the old one is left.
    not wait "$session"
    sleep 1
    [[ $(in_ openclaw-gateway pgrep -c -u bastion) = 1 ]]
    not in_ openclaw-gateway pgrep -u claw -f '^sleep 1000'
    says '^claw$' door id -un
    [[ $(docker_ inspect -f '{{.RestartCount}}' "$(container openclaw-gateway)") = 0 ]]
}

# As many processes as may be: some seconds of ones that are busy with trying for more; and idle ones.
BUSY_FLOOD='while (time < $^T + 15) { fork }'
IDLE_FLOOD='while (1) { my $p = fork; if (!defined $p) { sleep 1 } elsif (!$p) { sleep 3600; exit } }'

processes_of_claw() {
    in_ openclaw-gateway sh -c 'ps -L -u claw -o lwp= | wc -l'
}

no_fewer_than() {
    (($(processes_of_claw) >= $1))
}

flooded() {
    local openclaw
    openclaw=$(openclaw_pid)
    echo "$1"
    killed_is_back gate_pid
    killed_is_back monitor_pid
    [[ $(openclaw_pid) = "$openclaw" ]]
}

# First from the gateway, as its agents can, then over ssh as well.
flood_of_processes() {
    docker_ exec -d -u claw "$(container openclaw-gateway)" nice -n 10 prlimit --nproc=1000 perl -e "$IDLE_FLOOD"
    within 60 no_fewer_than 990 >/dev/null
    flooded "$(processes_of_claw) processes of the gateway's"
    says '^claw$' door id -un
    door "setsid -f perl -e '$IDLE_FLOOD' >/dev/null 2>&1 </dev/null"
    within 60 no_fewer_than 1490 >/dev/null
    flooded "$(processes_of_claw) processes of claw's"
    within 20 no_flood >/dev/null
    says '^claw$' door id -un
}

# These take the processor as well, of which bastion gets its share: it comes back, if slower.
busy_flood() {
    docker_ exec -d -u claw "$(container openclaw-gateway)" nice -n 10 prlimit --nproc=1000 perl -e "$BUSY_FLOOD"
    within 15 no_fewer_than 500
    in_ openclaw-gateway kill -KILL "$(gate_pid)"
    within 20 ssh_answers
    says '^claw$' door id -un
    within 60 no_flood >/dev/null
}

sandbox_gate() {
    in_ sandbox sh -c 'grep -lx bastion-gate /proc/[0-9]*/comm' | cut -d / -f 3
}

flood_in_the_sandbox() {
    local gate
    docker_ exec -d -u sandbox "$(container sandbox)" perl -e "$IDLE_FLOOD"
    within 60 in_ sandbox sh -c '[ $(ls -d /proc/[0-9]* | wc -l) -gt 400 ]' >/dev/null
    gate=$(sandbox_gate)
    in_ sandbox sh -c "kill -KILL $gate"
    within 10 in_ sandbox bastion healthcheck --timeout 1s
    [[ $(sandbox_gate) != "$gate" ]]
    # All of its account's.
    docker_ exec -u sandbox "$(container sandbox)" sh -c 'kill -KILL -1' || true
    says '^sandbox$' sandbox_ssh sandbox@sandbox id -un
}

no_flood() {
    not in_ openclaw-gateway pkill -KILL -u claw -x perl
}

kill_session() {
    door 'echo $PPID; sleep 8; echo other' >"$WORK/one" &
    local one=$!
    sleep 2
    refuses . door 'kill -KILL $PPID; sleep 1; echo still here'
    wait "$one"
    grep -q other "$WORK/one"
}

bastion_unable() {
    local openclaw
    openclaw=$(openclaw_pid)
    # Without its host keys and without the right to make others it ends at once.
    in_ openclaw-gateway sh -c 'mv /var/lib/bastion/ssh_host_rsa_key /var/lib/bastion/x && mkdir /var/lib/bastion/ssh_host_rsa_key'
    in_ openclaw-gateway kill -KILL "$(monitor_pid)"
    sleep 8
    local tries
    tries=$(compose logs --no-color --no-log-prefix --since 9s openclaw-gateway | grep -c 'entrypoint: bastion has ended' || true)
    refuses 'refused|not answered' ssh_answers
    in_ openclaw-gateway sh -c 'rmdir /var/lib/bastion/ssh_host_rsa_key && mv /var/lib/bastion/x /var/lib/bastion/ssh_host_rsa_key'
    within 30 ssh_answers
    echo "$tries tries in 8 s"
    ((tries >= 3 && tries <= 6))
    [[ $(openclaw_pid) = "$openclaw" ]]
}

healthy() {
    [[ $(docker_ inspect -f '{{.State.Health.Status}}' "$(container openclaw-gateway)") = healthy ]] &&
        in_ openclaw-gateway bastion healthcheck --http http://127.0.0.1:18789/healthz
}

restarted() {
    [[ $(docker_ inspect -f '{{.RestartCount}}' "$(container openclaw-gateway)") -ge $1 ]]
}

kill_gateway() {
    # The command may be ended with the container.
    in_ openclaw-gateway kill -KILL "$(openclaw_pid)" || true
    within 30 restarted 1
    # The stand-in is another container; the gateway takes its time after that.
    within 60 ssh_answers
    says '^claw$' door id -un
}

kill_entrypoint() {
    in_ openclaw-gateway kill -KILL "$(entrypoint_pid)" || true
    within 30 restarted 2
    within 180 healthy
    says '^claw$' door id -un
}

# ---- stop, down, up --------------------------------------------------------------------------

stop_is_clean() {
    local began=$SECONDS gateway
    gateway=$(container openclaw-gateway)
    compose stop openclaw-gateway sandbox
    echo "$((SECONDS - began)) s"
    # Neither had to be killed at the end of its time.
    says '^0 false$' docker_ inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' "$gateway"
    says '^0$' docker_ inspect -f '{{.State.ExitCode}}' "$(container sandbox)"
    says stopped logged stopped ''
}

survives() {
    local before after data=$WORK/project/openclaw-data
    before=$(fingerprints)
    # Had somebody put a file of root's there, claw would not get it by a restart.
    install -m 600 /dev/null "$data/workspace/of-root"
    stack_down >/dev/null 2>&1
    stack_up >/dev/null 2>&1
    GATEWAY=$(address_in "${PROJECT}_main" openclaw-gateway)
    says "$(date +%Y)" door 'cat workspace/before-down'
    after=$(fingerprints)
    [[ $before = "$after" ]] || {
        printf '%s\n%s\n' "$before" "$after"
        return 1
    }
    says '^root$' door 'stat -c %U workspace/of-root'
    # OpenClaw's configuration needed nothing.
    compose logs --no-color --no-log-prefix openclaw-gateway >"$WORK/log"
    not grep -E 'openclaw.json gets|new random password' "$WORK/log"
}

# An agent has put something that never ends in the configuration's way: people can log in, and
# mend it; and so they can when the gateway ends by itself.
time_to_mend() {
    local gateway
    gateway=$(container openclaw-gateway)
    says '^$' door 'cd .openclaw && mv .env .env.kept && mkfifo .env; echo'
    docker_ restart "$gateway" >/dev/null
    within 60 ssh_answers >/dev/null
    says '^claw$' straight "$WORK/good" \
        "id -un; cd .openclaw && mv -f .env.kept .env && pkill -KILL -f '[e]ntrypoint.sh gateway'"
    within 10 logged_by_entrypoint 'that was soon' >/dev/null
    says '^claw$' straight "$WORK/good" id -un
    compose stop openclaw-gateway
    says '^0 false$' docker_ inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' "$gateway"
}

logged_by_entrypoint() {
    compose logs --no-color --no-log-prefix --tail 50 openclaw-gateway | grep -q "^entrypoint: .*$1"
}

fingerprints() {
    local data=$WORK/project/openclaw-data
    cat "$data"/bastion/ssh_host_*_key.pub "$data"/config/.openclaw/.env | sha256sum
    jq -S 'del(.meta)' "$data/config/.openclaw/openclaw.json" | sha256sum
    stat -c '%a %U %n' "$data/bastion" "$data/bastion/ssh_host_ed25519_key" "$data/config/.openclaw/.env"
}
