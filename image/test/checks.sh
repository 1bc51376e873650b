# shellcheck shell=bash disable=SC2001 # an indent before each line
# What is looked at, in this order, each by a function in checks/; one that fails is a check that
# failed. They build on each other only where their order says so.

for topic in ways_in login web refusals isolation sandbox keys kill lifecycle; do
    # shellcheck source=/dev/null
    . "$HERE/test/checks/$topic.sh"
done

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

    section "the keys"
    check "they belong to the owner of their folder, who can complete and show them" keys_owner

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
    check "told to stop at any moment, the entrypoint ends" stops_at_any_moment
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
