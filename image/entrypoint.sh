#!/bin/bash
# The container's program, under tini: `openclaw gateway` as claw, and bastion as root beside it.
#
#   entrypoint.sh            serve
#   entrypoint.sh prepare    give the data folders their owners; a container of its own, before
#   entrypoint.sh gateway    complete OpenClaw's configuration and be its gateway; as claw
#   entrypoint.sh configure  the first half of that
#
# The gateway's end is the container's end: the restart policy takes over. bastion's end is not:
# it is started again, and the gateway does not notice.
#
# What is claw's, all of /claw, is read, run and written by claw alone, never by root, which does not
# wait for any of it either: an agent may have put there what never ends.
set -euo pipefail
cd /

# bastion is started again after these times, in seconds: the first of them when it ran for a
# while, the next ones when it does not come to serve, the last one over and over.
RESTART_AFTER=(0.2 0.5 1 2 5 15 30)
RAN_FOR_A_WHILE=10
# A gateway that ends this soon after its start, in seconds, does not end the container before that:
# so long somebody can log in and mend what keeps it from running.
TIME_TO_MEND=60
# Processes and threads of claw, beyond which the gateway and all it starts get no more. compose.yaml
# permits more to sessions over SSH, so that whoever comes to end a flood of them can, and more again
# to the whole container, so that bastion can be started beside it.
GATEWAY_PROCESSES=1000
# And they yield to bastion, in the time that they take.
GATEWAY_NICENESS=10
# Nor may they hold as many descriptors: those that claw has sent and nobody has received are counted
# together, and whoever may hold fewer can send none. bastion keeps its sessions' programs to half, too.
GATEWAY_DESCRIPTORS=$(ulimit -Hn)
((GATEWAY_DESCRIPTORS < 4096)) || ((GATEWAY_DESCRIPTORS /= 2))
DATA=${DATA:-/data}
SEED=/usr/local/share/openclaw-gateway/openclaw.json
MARK_LINES=/usr/local/share/openclaw-gateway/mark-lines.pl
# What earlier guides shipped as a password, for everybody to read.
PLACEHOLDERS='["configure-gateway-token", "changeme-default-token", "configure-gateway-password"]'
AS_NOBODY=(setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs)
AS_CLAW=(nice -n "$GATEWAY_NICENESS" prlimit "--nproc=$GATEWAY_PROCESSES"
    "--nofile=$(($(ulimit -Sn) < GATEWAY_DESCRIPTORS ? $(ulimit -Sn) : GATEWAY_DESCRIPTORS)):$GATEWAY_DESCRIPTORS"
    setpriv --reuid=claw --regid=claw --init-groups --inh-caps=-all --no-new-privs
    env HOME=/claw USER=claw LOGNAME=claw SHELL=/bin/bash)

main() {
    case ${1:-serve} in
        serve) serve ;;
        prepare) prepare ;;
        gateway) gateway ;;
        configure) configure ;;
        *) fail "there is no '$1'; it is serve, prepare, gateway or configure" ;;
    esac
}

say() {
    echo "entrypoint: $*"
}

fail() {
    echo "entrypoint: $*" >&2
    exit 1
}

# ---- serve -----------------------------------------------------------------------------------

serve() {
    local ended status of_gateway=0
    gateway='' bastion='' timer='' mending='' stopping='' failures=0
    trap stop TERM INT
    # What claw says to the log is marked as such: it cannot pass for a line of bastion's.
    exec {openclaw_log}> >(exec "${AS_NOBODY[@]}" perl "$MARK_LINES" openclaw)
    openclaw_marker=$!
    start_bastion
    [[ -n $stopping ]] || start_gateway
    while [[ -n $gateway$mending ]]; do
        ended='' status=0
        # shellcheck disable=SC2086 # those that do not run are not there
        wait -n -p ended $gateway $mending $bastion $timer 2>/dev/null || status=$?
        [[ -n ${ended:-} ]] || ended_unseen
        case $ended in
            '') ;; # a signal, and nothing has ended yet
            "$gateway") gateway_ended "$status" && of_gateway=$status ;;
            "$mending") mending='' ;;
            "$bastion") bastion_ended "$status" ;;
            "$timer")
                timer=''
                # Nobody is let in any more who would be cut off in a moment.
                [[ -n $stopping ]] || start_bastion
                ;;
        esac
    done
    finish "$of_gateway"
}

# A signal has cut `wait` short: `stop` has run. What ends meanwhile, `wait -n` never names; asked
# for by its number, it is still known.
ended_unseen() {
    for ended in $gateway $mending $bastion $timer; do
        kill -0 "$ended" 2>/dev/null || {
            status=0
            wait "$ended" 2>/dev/null || status=$?
            return 0
        }
    done
    ended=''
}

start_gateway() {
    "${AS_CLAW[@]}" "$0" gateway 1>&"$openclaw_log" 2>&1 {openclaw_log}>&- &
    gateway=$!
    gateway_started=$SECONDS
    say "the gateway runs as process $gateway"
}

gateway_ended() {
    gateway=''
    say "the gateway has ended with status $1"
    [[ -z $stopping ]] || return 0
    local left=$((gateway_started + TIME_TO_MEND - SECONDS))
    ((left > 0)) || return 0
    say "that was soon: the container ends in $left s, and is to be logged in to until then"
    sleep "$left" {openclaw_log}>&- &
    mending=$!
}

start_bastion() {
    bastion {openclaw_log}>&- &
    bastion=$!
    bastion_started=$SECONDS
    say "bastion runs as process $bastion"
}

bastion_ended() {
    bastion=''
    [[ -z $stopping ]] || return 0
    ((SECONDS - bastion_started < RAN_FOR_A_WHILE)) || failures=0
    local after=${RESTART_AFTER[failures]}
    ((failures + 1 >= ${#RESTART_AFTER[@]})) || ((++failures))
    say "bastion has ended with status $1; it is started again in ${after} s"
    sleep "$after" {openclaw_log}>&- &
    timer=$!
}

# SIGTERM or SIGINT: both are told, and given the time that the engine gives us.
stop() {
    stopping=1
    local process
    for process in $gateway $mending $bastion; do
        kill -TERM "$process" 2>/dev/null || true
    done
}

finish() {
    [[ -z $timer ]] || kill "$timer" 2>/dev/null || true
    if [[ -n $bastion ]]; then
        kill -TERM "$bastion" 2>/dev/null || true
        # Cut short by a signal, it goes on: bastion ends in its own time, a few seconds at most.
        while kill -0 "$bastion" 2>/dev/null; do wait "$bastion" || true; done
    fi
    # What the gateway said last is still to be written; what it left behind is not waited for.
    exec {openclaw_log}>&-
    local tries=0
    while kill -0 "$openclaw_marker" 2>/dev/null && ((++tries < 20)); do sleep 0.05; done
    [[ -z $stopping ]] || exit 0
    exit "$1"
}

# ---- prepare ---------------------------------------------------------------------------------

# Everything else runs without the right to touch files of others, so that each folder has to
# belong to whom it serves. Folders that belong to claw are claw's to fill, with symbolic links
# for instance: root changes the owner of the top of them, and of what is below once, following
# no link, before anything of claw's runs.
prepare() {
    local ca=$DATA/pomerium-ssh/pomerium_user_ca_key.pub keys=$DATA/sandbox file
    for file in "$ca" "$keys"/ca/sandbox_ca_key.pub "$keys"/client/id_ed25519{,-cert.pub} \
        "$keys"/client/known_hosts "$keys"/server/ssh_host_ed25519_key; do
        [[ -s $file ]] || fail "there is no openclaw-data${file#"$DATA"} yet: make the keys by" \
            "bastion-keygen, then start again (image/README.md, step 3)"
    done
    owned claw 0755 "$DATA/config"
    owned claw 0755 "$DATA/workspace"
    # Host keys, and nothing of claw's.
    owned root 0700 "$DATA/bastion"
    owned root 0700 "$keys/server"
    owned claw 0700 "$keys/client"
    chown -h root:root "$DATA/pomerium-ssh" "$ca" "$keys" "$keys/ca" "$keys/ca/sandbox_ca_key.pub"
    chmod 0755 "$DATA/pomerium-ssh" "$keys" "$keys/ca"
    # Public keys, which root without privileges has to read as anybody may.
    chmod 0644 "$ca" "$keys/ca/sandbox_ca_key.pub"
    say "the data folders are ready"
}

# owned ACCOUNT MODE FOLDER
owned() {
    local account=$1 mode=$2 folder=$3
    mkdir -p "$folder"
    if [[ $(stat -c %U "$folder") != "$account" || $account = root ]]; then
        chown -R -h "$account:$account" "$folder"
    fi
    chmod "$mode" "$folder"
}

# ---- gateway, configure -------------------------------------------------------------------------------

gateway() {
    "$0" configure || say "OpenClaw's configuration was not completed; going on with it as it is"
    exec openclaw gateway
}

# As claw. OpenClaw reverts a configuration that others wrote; it is told what to change by its
# own command, and only if there is something to change: that takes seconds.
configure() {
    [[ $(id -u) != 0 ]] || fail "'configure' is for claw: what it reads and writes is claw's"
    local state=/claw/.openclaw config=/claw/.openclaw/openclaw.json current patch
    umask 077
    mkdir -p "$state"
    first_login
    link_workspace
    current='{}'
    if [[ -s $config ]]; then
        current=$(jq -ce 'objects' "$config" 2>/dev/null) ||
            fail "$config is not plain JSON: set gateway.trustedProxies and" \
                "gateway.controlUi.allowedOrigins in it yourself"
    fi
    # The guide shipped this key. It makes a configuration invalid since, and one that is invalid
    # can be changed by no command but `doctor --fix`, which changes much else.
    if jq -e '.gateway.tailscale | objects | has("resetOnExit")' <<<"$current" >/dev/null; then
        current=$(jq -c 'del(.gateway.tailscale.resetOnExit)' <<<"$current")
        jq . <<<"$current" >"$config.new"
        mv "$config.new" "$config"
        say "openclaw.json loses gateway.tailscale.resetOnExit, which this version does not know"
    fi
    patch=$(configuration_patch "$current")
    if [[ $patch != '{}' ]]; then
        say "openclaw.json gets $(jq -c '[paths(scalars) | map(strings) | join(".")] | unique' <<<"$patch")"
        openclaw config patch --stdin <<<"$patch"
    fi
    touch "$state/.seeded"
    local_password "$current"
}

# A shell as people know it.
first_login() {
    [[ -e /claw/.bashrc ]] || cp /etc/skel/.bashrc /etc/skel/.profile /claw/
}

# The workspace is a mount of its own, and where everybody looks for it a link leads to it. Before there
# was that, the mount was here.
link_workspace() {
    [[ ! -L /claw/workspace ]] || return 0
    rmdir /claw/workspace 2>/dev/null || [[ ! -e /claw/workspace ]] || {
        say "/claw/workspace is a mount or has files in it, and stays: it does not lead to /workspace"
        return 0
    }
    ln -s /workspace /claw/workspace
}

# configuration_patch CURRENT: what is missing in the configuration, as JSON.
configuration_patch() {
    local seeded=false origin=''
    [[ ! -e /claw/.openclaw/.seeded ]] || seeded=true
    case ${POMERIUM_CLUSTER_DOMAIN:-} in
        '') say "POMERIUM_CLUSTER_DOMAIN is not set: no browser will be let in" >&2 ;;
        *) origin=https://openclaw.$POMERIUM_CLUSTER_DOMAIN ;;
    esac
    jq -cn --argjson current "$1" --argjson seeded "$seeded" --slurpfile seed "$SEED" \
        --argjson placeholders "$PLACEHOLDERS" --arg origin "$origin" \
        --arg proxy "${POMERIUM_ADDRESS:-}" '
        # The leaves of the seed, arrays being leaves, that the configuration says nothing about.
        def leaves: path(.. | select(type != "object"))
            | select(all(.[]; type == "string"));
        def with($list; $item): if $item == "" or any($list[]?; . == $item) then empty
            else ($list // []) + [$item] end;
        def placeholder: . as $secret | any($placeholders[]; . == $secret);
        ($seed[0]) as $seed
        | reduce (if $seeded then empty else $seed | leaves end) as $path ({};
            if ($current | getpath($path)) == null
            then setpath($path; $seed | getpath($path)) else . end)
        | reduce with($current.gateway.trustedProxies; $proxy) as $list (.;
            .gateway.trustedProxies = $list)
        | reduce with($current.gateway.controlUi.allowedOrigins; $origin) as $list (.;
            .gateway.controlUi.allowedOrigins = $list)
        | if $current.gateway.auth.token | placeholder
            then .gateway.auth.token = null else . end
        | if $current.gateway.auth.password | placeholder
            then .gateway.auth.password = null else . end
    '
}

# `openclaw devices …` in a shell of this container asks the gateway, which lets nobody in without
# Pomerium's headers but those who know a password. Both read it from this file of claw's; it is
# in no command line, and in no environment that the container is started with.
local_password() {
    local file=/claw/.openclaw/.env
    jq -e --argjson placeholders "$PLACEHOLDERS" '.gateway.auth.password
        | . != null and (. as $secret | any($placeholders[]; . == $secret) | not)' \
        <<<"$1" >/dev/null && return
    ! grep -qs '^OPENCLAW_GATEWAY_PASSWORD=.' "$file" || return 0
    # A last line that nobody has ended would go on with it.
    [[ ! -s $file || -z $(tail -c 1 "$file") ]] || echo >>"$file"
    printf 'OPENCLAW_GATEWAY_PASSWORD=%s\n' "$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d =)" >>"$file"
    say "the gateway has a new random password, for the commands of this container"
}

main "$@"
