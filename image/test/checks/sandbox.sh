# shellcheck shell=bash disable=SC2015,SC2016 # remote commands are quoted here, expanded there
# The sandbox of OpenClaw's subagents.

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
