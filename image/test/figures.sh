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

    section "resident memory in kB, idle and with one session (ssh … sleep)"
    local server sshd key
    sshd=$(docker_ run -d --rm --init --network "${PROJECT}_main" \
        -v "$ca:/var/lib/pomerium/pomerium_user_ca_key.pub:ro" "$(image with-sshd)" /usr/sbin/sshd -D)
    pomerium_ca
    key=$(certified figures "${CA_KEYS[@]}" --principal claw)
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

# The parts of either server by name: its processes show what they are.
memory() {
    docker_ exec "$1" ps axo rss=,user=,args= | awk -v when="$2" '
        $3 ~ /^(bastion|sshd|\/usr\/sbin\/sshd)/ { total += $1; parts = parts "  " $1 " " substr($0, index($0, $3)) "\n" }
        END { printf "  %s: %d\n%s", when, total, parts }'
}
