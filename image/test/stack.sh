# shellcheck shell=bash
# The stack of compose.yaml in a folder of its own.

PROJECT=bastion-test-$$

# The C library of the images (Debian 12): programs that were built with a newer one do not run there.
IMAGE_LIBC=2.36

# Where the images' programs come from: built here, or by the Dockerfile.
programs() {
    local program libc
    mkdir -p "$WORK/project"
    cp -r compose.yaml image .env.example "$WORK/project/"
    libc=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
    FROM=prebuilt CONTEXT=$WORK/context BIN=${PREBUILT:-}
    if [[ $(printf '%s\n' "$libc" "$IMAGE_LIBC" | sort -V | tail -n 1) != "$IMAGE_LIBC" ]]; then
        echo "the C library here is newer ($libc): the image's programs are built in the image"
        FROM_SOURCE=1
    fi
    if [[ -n $FROM_SOURCE ]]; then
        FROM=builder CONTEXT=$ROOT
        return
    fi
    if [[ -z $BIN ]]; then
        cargo build --release --locked -p bastion -p keys -p pomerium-stand-in
        BIN=${CARGO_TARGET_DIR:-target}/release
    fi
    mkdir -p "$CONTEXT/prebuilt"
    for program in bastion bastion-keygen pomerium-stand-in; do
        strip -o "$CONTEXT/prebuilt/$program" "$BIN/$program"
    done
    cp -r image .dockerignore "$CONTEXT/"
}

# With an engine of our own nothing can be pulled by it while it has no registry; then the base
# images are made here. What the images contain besides is the Dockerfile's.
images() {
    export DOCKER_BUILDKIT=1
    NETWORK=()
    [[ -z $BUILD_NETWORK ]] || NETWORK=("--network=$BUILD_NETWORK")
    if ! have_base debian:bookworm-slim || ! have_base node:24-slim; then
        step "base images, as no registry can be reached" base_images "$CACHE"
    fi
    if [[ $FROM = builder ]]; then
        have_base rust:1-slim-bookworm ||
            step "base image to build in, as no registry can be reached" rust_image
        step "builder" build --target builder
    fi
    local target keygen
    for target in openclaw-gateway sandbox tools; do
        step "image $target" build -t "$(image "$target")" --target "$target"
    done
    # The one that makes the certificates which are to be refused, and others.
    keygen=$(docker_ create --network none "$(image tools)")
    docker_ cp "$keygen:/usr/local/bin/bastion-keygen" "$WORK/bastion-keygen"
    docker_ rm "$keygen" >/dev/null
}

have_base() {
    docker_ image inspect "$1" >/dev/null 2>&1 || docker_ pull -q "$1" 2>/dev/null || {
        [[ $ENGINE != present ]] || skip "the engine has no $1, and cannot pull it"
        return 1
    }
}

build() {
    docker_ build -q "${NETWORK[@]}" "$@" --build-arg BASTION_FROM="$FROM" \
        --build-arg OPENCLAW_VERSION="$OPENCLAW_VERSION" -f "$CONTEXT/image/Dockerfile" "$CONTEXT"
}

images_with_sshd() {
    local ours
    # Once with our packages and that one, once with those of the guide's Dockerfile.
    ours=$(sed -n 's/.*--no-install-recommends \(ca-certificates .*\) &&.*/\1/p' image/Dockerfile)
    step "the same with openssh-server" docker_ build -q "${NETWORK[@]}" -t "$(image with-sshd)" \
        --build-arg GATEWAY="$(image openclaw-gateway)" \
        --build-arg PACKAGES="--no-install-recommends $ours openssh-server" \
        -f image/test/with-sshd.Dockerfile image/test
    step "the same as in the guide" docker_ build -q "${NETWORK[@]}" -t "$(image as-in-the-guide)" \
        --build-arg GATEWAY="$(image openclaw-gateway)" \
        --build-arg PACKAGES="git openssh-server iproute2 jq sudo" \
        -f image/test/with-sshd.Dockerfile image/test
}

image() {
    echo "bastion-test-$1:$TAG"
}

remove_images() {
    local name
    for name in openclaw-gateway sandbox tools with-sshd as-in-the-guide; do
        docker_ image rm -f "$(image "$name")" >/dev/null 2>&1
    done
}

compose() {
    (cd "$WORK/project" && "${ENGINE_NET[@]}" "${ENGINE_ENV[@]}" \
        "${ENGINE_DOCKER:-$ENGINE_ROOT/usr/bin/docker}" compose -p "$PROJECT" "$@")
}

make_keys() {
    cat >"$WORK/project/.env" <<END
POMERIUM_ZERO_TOKEN=none
POMERIUM_CLUSTER_DOMAIN=fox-1.pomerium.app
OPENCLAW_VERSION=$OPENCLAW_VERSION
END
    # The images that were built here, by other names than those of somebody's stack.
    cat >"$WORK/project/compose.override.yaml" <<END
services:
  prepare: {image: $(image openclaw-gateway)}
  openclaw-gateway:
    image: $(image openclaw-gateway)
    volumes: ["./openclaw-data/etc-bastion:/etc/bastion:ro"]
  sandbox: {image: $(image sandbox)}
  bastion-keygen: {image: $(image tools)}
  stand-in: {image: $(image tools)}
END
    install -D -m 644 image/bastion.toml "$WORK/project/openclaw-data/etc-bastion/bastion.toml"
    # Where the workspace was mounted in earlier versions of compose.yaml.
    mkdir -p "$WORK/project/openclaw-data/config/workspace"
    # Docker works as root; the folder, and so the keys, are somebody's.
    [[ $(id -u) != 0 ]] || chown -R 4711:4712 "$WORK/project"
    compose run --rm bastion-keygen
}

stack_up() {
    STACK_UP=1
    if ! compose up -d --wait --wait-timeout 300 stand-in; then
        compose ps -a
        compose logs --no-color --tail 40
        return 1
    fi
    compose ps -a
}

stack_down() {
    [[ -n ${STACK_UP:-} ]] || return 0
    compose --profile '*' down -v --remove-orphans --timeout 30
    STACK_UP=
}

# container SERVICE: its name for the engine.
container() {
    compose ps -a -q "$1"
}

# in_ SERVICE COMMAND…: as root of that container, by the engine.
in_() {
    local service=$1
    shift
    docker_ exec "$(container "$service")" "$@"
}

# Process numbers in the gateway's container.
monitor_pid() { in_ openclaw-gateway pgrep -o -u root -x bastion; }
gate_pid() { in_ openclaw-gateway pgrep -o -u bastion; }
openclaw_pid() { in_ openclaw-gateway pgrep -o -u claw -f '^openclaw-gateway'; }
entrypoint_pid() { in_ openclaw-gateway pgrep -o -u root -f entrypoint.sh -P 1; }

status_of() {
    in_ openclaw-gateway sh -c "sed -n 's/^$2:[[:space:]]*//p' /proc/$1/status"
}

# address_in NETWORK SERVICE
address_in() {
    docker_ inspect -f "{{(index .NetworkSettings.Networks \"$1\").IPAddress}}" "$(container "$2")"
}

bridge_address() {
    docker_ network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "${PROJECT}_$1"
}
