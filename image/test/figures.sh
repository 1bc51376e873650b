# shellcheck shell=bash disable=SC2016 # expanded in the container
# What it costs, beside openssh-server in the same image.

figures_of_images() {
    section "size and packages, built just now"
    local name
    printf '  %-34s %8s %9s\n' image MB packages
    for name in openclaw-gateway with-sshd as-in-the-guide sandbox; do
        printf '  %-34s %8s %9s\n' "$name" \
            "$(($(docker_ image inspect -f '{{.Size}}' "$(image "$name")") / 1000000))" \
            "$(docker_ run --rm --network none "$(image "$name")" dpkg-query -W | wc -l)"
    done
}

# To be run in a container: starts a server RUNS times and says how long it took to listen.
LISTENING='
port=$1 runs=$2; shift 2
for _ in $(seq "$runs"); do
    began=$(date +%s%N)
    "$@" >/dev/null 2>&1 &
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo $((($(date +%s%N) - began) / 1000))
    kill $!; wait
done'

median() {
    sort -n | awk '{ all[NR] = $1 } END { printf "%.1f ms", all[int((NR + 1) / 2)] / 1000 }'
}

figures_of_processes() {
    section "from start to listening, median of 9, host keys being there"
    local ca=$WORK/project/pomerium_user_ca_key.pub time
    time=$(docker_ run --rm --network none -v "$ca:/var/lib/pomerium/pomerium_user_ca_key.pub:ro" "$(image openclaw-gateway)" \
        bash -c "bastion >/dev/null & sleep 5; kill \$!; wait; $LISTENING" x 22 9 bastion | median)
    echo "  bastion: $time"
    time=$(docker_ run --rm --network none -v "$ca:/var/lib/pomerium/pomerium_user_ca_key.pub:ro" "$(image with-sshd)" \
        bash -c "$LISTENING" x 22 9 /usr/sbin/sshd -D | median)
    echo "  sshd:    $time"

    section "memory in kB, idle and with one session (ssh … sleep): resident, and without what is shared"
    local server sshd key
    sshd=$(docker_ run -d --rm --init --network "${PROJECT}_main" \
        -v "$ca:/var/lib/pomerium/pomerium_user_ca_key.pub:ro" "$(image with-sshd)" /usr/sbin/sshd -D)
    pomerium_ca
    key=$(certified figures "${CA_KEYS[@]}" --principal claw)
    docker_ start "$(container openclaw-gateway)" >/dev/null
    within 60 ssh_answers >/dev/null
    for server in "$(container openclaw-gateway)" "$sshd"; do
        sleep 1
        memory "$server" idle
        GATEWAY=$(docker_ inspect -f "{{(index .NetworkSettings.Networks \"${PROJECT}_main\").IPAddress}}" "$server") \
            straight "$key" sleep 5 2>/dev/null &
        sleep 2
        memory "$server" "one session"
        wait $!
    done
    docker_ rm -f "$sshd" >/dev/null
}

# The parts of either server by name: its processes show what they are. PSS counts a page that
# several processes share as a part for each: it adds up, which RSS does not.
memory() {
    local engine=() pid arguments
    [[ $ENGINE = present ]] || engine=(nsenter --target "$(engine_inside)" --pid --mount)
    docker_ top "$1" -eo pid,args | tail -n +2 | while read -r pid arguments; do
        case $arguments in
            bastion* | sshd* | /usr/sbin/sshd*) ;;
            *) continue ;;
        esac
        "${engine[@]}" awk -v name="$arguments" '
            $1 == "Rss:" { rss = $2 } $1 == "Pss:" { pss = $2 }
            END { print rss, pss, name }' "/proc/$pid/smaps_rollup"
    done | awk -v when="$2" '
        { rss += $1; pss += $2; name = $0; sub(/^[0-9]+ [0-9]+ /, "", name)
          parts = parts sprintf("    %6d %6d  %s\n", $1, $2, name) }
        END { printf "  %s: RSS %d, PSS %d\n%s", when, rss, pss, parts }'
}
