#!/bin/bash
# Builds the images, starts the stack of compose.yaml behind the stand-in for Pomerium, and looks at
# it from outside with the real ssh: what the README promises, and what an agent must not be able to.
#
#   image/test.sh                 about five minutes on two cores; tears everything down
#
# Where a container engine is at hand it is used; else, as root on Debian, one is unpacked and
# started in namespaces of its own, and the base images are made from Debian's and npm's archives
# if no registry can be reached. Nothing is installed.
#
#   FIGURES=1        measure too, beside the same image with openssh-server: some minutes more
#   PREBUILT=DIR     take bastion, bastion-keygen and pomerium-stand-in from there
#   FROM_SOURCE=1    have the Dockerfile build them, as it does for users: some minutes more
#   CACHE=DIR        keep downloads there [target/image-test]
#   BUILD_NETWORK=host  where the bridge of the engine at hand leads nowhere
#   KEEP=1           keep the images too, for the next run
#   REQUIRED=1       fail where it cannot run, instead of saying so
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$HERE")
cd "$ROOT"
# shellcheck source-path=SCRIPTDIR source=test/engine.sh
. "$HERE/test/engine.sh"
# shellcheck source-path=SCRIPTDIR source=test/base.sh
. "$HERE/test/base.sh"
# shellcheck source-path=SCRIPTDIR source=test/stack.sh
. "$HERE/test/stack.sh"
# shellcheck source-path=SCRIPTDIR source=test/checks.sh
. "$HERE/test/checks.sh"
# shellcheck source-path=SCRIPTDIR source=test/figures.sh
. "$HERE/test/figures.sh"

OPENCLAW_VERSION=${OPENCLAW_VERSION:-$(sed -n 's/^ARG OPENCLAW_VERSION=//p' image/Dockerfile)}
CACHE=$(realpath -m "${CACHE:-target/image-test}")
FIGURES=${FIGURES:-}
FROM_SOURCE=${FROM_SOURCE:-}
WORK=
FAILED=()

main() {
    local began=$SECONDS
    choose_engine
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/bastion-image-test.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$CACHE"
    step "programs" programs
    [[ $ENGINE = present ]] || step "engine" engine_unpack "$CACHE"
    [[ $ENGINE = present ]] || step "engine for building" engine_start "$(engine_work)" building ||
        skip "the engine does not start on this machine"
    step "images" images
    [[ -z $FIGURES ]] || step "images to compare with" images_with_sshd
    [[ -z $FIGURES ]] || figures_of_images
    if [[ $ENGINE != present ]]; then
        engine_stop
        step "engine for running" engine_start "$(engine_work)" running
    fi
    step "keys" make_keys
    step "stack" stack_up
    checks
    [[ -z $FIGURES ]] || figures_of_processes
    step "down" stack_down
    echo
    echo "image test: $((SECONDS - began)) s"
    if ((${#FAILED[@]})); then
        printf 'FAILED: %s\n' "${FAILED[@]}"
        exit 1
    fi
    echo "image test: all well"
}

choose_engine() {
    local why
    if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
        ENGINE=present
        engine_present
    elif why=$(engine_possible); then
        ENGINE=own
    else
        skip "there is no container engine, and $why"
    fi
    echo "image test: with the engine that is $ENGINE"
}

skip() {
    echo "image test: SKIPPED, nothing of the image was tested: $1" >&2
    [[ -z ${REQUIRED:-} ]] || exit 1
    exit 0
}

engine_work() {
    if [[ -n ${KEEP:-} ]]; then echo "$CACHE/docker"; else echo "$WORK/docker"; fi
}

# step NAME COMMAND…: what takes time, with the time that it took.
step() {
    local name=$1 began=$SECONDS
    shift
    echo "== $name"
    "$@"
    echo "== $name: $((SECONDS - began)) s"
}

clean_up() {
    local status=$?
    set +e
    if [[ $status != 0 && -n ${STACK_UP:-} ]]; then
        echo "---- the last lines of the stack:"
        compose logs --no-color --tail 60 2>&1
    fi
    stack_down >/dev/null 2>&1
    [[ $ENGINE != present ]] || remove_images
    engine_stop
    outside_stop
    # Docker's folders are root's, and so are we.
    rm -rf --one-file-system "$WORK"
    exit "$status"
}

main "$@"
