# shellcheck shell=bash disable=SC2016 # remote commands are quoted here, expanded there
# Each process killed, and floods of them.

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
    echo "$(processes_of_claw) processes"
    in_ openclaw-gateway kill -KILL "$(gate_pid)"
    within 30 ssh_answers
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
