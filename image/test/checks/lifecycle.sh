# shellcheck shell=bash disable=SC2034 # variables of the other files
# Stop, down and up, and what keeps it from starting.

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

stops_at_any_moment() {
    docker_ run --rm --init --network none -v "$HERE/test/stops.sh:/stops.sh:ro" \
        "$(image openclaw-gateway)" bash /stops.sh
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
    # It hangs once it has begun to read that.
    says '^claw$' straight "$WORK/good" \
        "id -un; until pgrep -u claw -x grep >/dev/null; do sleep 0.1; done; cd .openclaw && mv -f .env.kept .env && pkill -KILL -f '[e]ntrypoint.sh gateway'"
    within 10 logged_by_entrypoint 'that was soon' >/dev/null
    says '^claw$' straight "$WORK/good" id -un
    compose stop openclaw-gateway
    says '^0 false$' docker_ inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' "$gateway" || {
        docker_ logs --timestamps --tail 30 "$gateway"
        return 1
    }
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
