# shellcheck shell=bash disable=SC2016 # remote commands are quoted here, expanded there
# What claw cannot do.

niceness() { in_ openclaw-gateway ps -o ni= -p "$1"; }

processes() {
    local monitor gate openclaw
    monitor=$(monitor_pid) gate=$(gate_pid) openclaw=$(openclaw_pid)
    # What the gateway's processes may take, which the flood below starts from.
    local nice=$(($(niceness "$monitor") + 10))
    says "^ *$((nice > 19 ? 19 : nice))\$" niceness "$openclaw"
    says 'Max processes +1000 +1000' in_ openclaw-gateway cat "/proc/$openclaw/limits"
    # SETUID, SETGID, KILL and SYS_CHROOT, and no more, once the port is bound.
    [[ $(status_of "$monitor" CapEff) = 00000000000400e0 ]]
    [[ $(status_of "$monitor" CapPrm) = 00000000000400e0 ]]
    [[ $(status_of "$gate" CapEff) = 0000000000000000 ]]
    [[ $(status_of "$openclaw" CapEff) = 0000000000000000 ]]
    [[ $(status_of "$gate" Seccomp) = 2 ]]
    local process
    for process in $monitor $gate $openclaw; do
        [[ $(status_of "$process" NoNewPrivs) = 1 ]]
    done
    in_ openclaw-gateway sh -c 'ps -o user,comm,rss -p "$1,$2,$3"' sh "$monitor" "$gate" "$openclaw"
    # No SSH server but bastion, and no way to be root.
    refuses . door 'command -v sshd || ls /usr/sbin/sshd'
    refuses . door 'sudo -n true || su -c true root'
    says '"empty_root":true,"landlock":"Full"' logged listening ''
}

cannot_read() {
    refuses 'denied' door 'cat /var/lib/bastion/ssh_host_ed25519_key'
    refuses 'denied' door 'ls /var/lib/bastion'
    # The one private key that claw has a use for.
    says '^/etc/openclaw-sandbox/id_ed25519$' door \
        'grep -rls -e "BEGIN OPENSSH PRIVATE KEY" -e "BEGIN PRIVATE KEY" /etc /var /run /claw/workspace /usr/local/share; true'
    [[ $(door 'grep -rls -e "BEGIN OPENSSH PRIVATE KEY" -e "BEGIN PRIVATE KEY" /etc /var /run /usr/local/share; true' | wc -l) = 1 ]]
    local process file
    for process in $(monitor_pid) $(gate_pid) $(entrypoint_pid); do
        for file in environ mem maps fd/0; do
            refuses 'denied|not permitted' door "cat /proc/$process/$file"
        done
    done
}

cannot_kill() {
    local process signal
    for process in $(monitor_pid) $(gate_pid) $(entrypoint_pid) 1; do
        for signal in KILL STOP HUP 0; do
            refuses 'not permitted' door "bash -c 'kill -$signal $process'"
        done
        # ptrace(PTRACE_ATTACH), which has another number where the machine is an arm64.
        refuses 'not permitted' door \
            "perl -e 'syscall(\$ARGV[0] =~ /arm|aarch/ ? 117 : 101, 16, $process, 0, 0) == 0 or die \$!' \$(uname -m)"
    done
}

cannot_write() {
    local file
    for file in /var/lib/pomerium/pomerium_user_ca_key.pub /usr/local/bin/bastion \
        /usr/local/bin/entrypoint.sh /usr/local/bin/openclaw /etc/passwd; do
        refuses 'Read-only|denied' door "bash -c 'echo x >> $file'"
        refuses 'Read-only|denied|busy' door "mv $file $file.x"
    done
    refuses 'Read-only|denied' door 'mkdir /etc/x'
    refuses 'Read-only|denied' door 'touch /etc/bastion/x'
    says '^root 755$' door 'stat -c "%U %a" /usr/local/bin/bastion'
    refuses 'denied' door 'touch /var/lib/bastion/x'
    # Nor by the engine's own root, which shows that it is the mount, and not the owner.
    refuses 'Read-only' in_ openclaw-gateway sh -c 'echo x >> /var/lib/pomerium/pomerium_user_ca_key.pub'
}

cannot_forge() {
    local process
    for process in $(monitor_pid) $(openclaw_pid) $(entrypoint_pid) 1; do
        refuses 'denied' door "bash -c 'echo x > /proc/$process/fd/1'"
    done
    # What the gateway itself says is marked; what is not marked is bastion's or the entrypoint's.
    compose logs --no-color --no-log-prefix openclaw-gateway >"$WORK/log"
    grep -q '^openclaw: .*\[gateway\] ready' "$WORK/log"
    not grep -v -E '^(\{"time":|openclaw: |entrypoint: )' "$WORK/log"
    # However long a line is, it is marked wherever another's line could come between; and nothing
    # in it moves a cursor.
    { printf 'x\r{"time":1}\x1b[2K\n'; head -c 100000 /dev/zero | tr '\0' x; } |
        docker_ exec -i -u claw "$(container openclaw-gateway)" \
            perl /usr/local/share/openclaw-gateway/mark-lines.pl openclaw >"$WORK/marked"
    not grep -v '^openclaw: ' "$WORK/marked"
    not grep -P '[\x00-\x09\x0b-\x1f]' "$WORK/marked"
    not grep -E '^.{4096}' "$WORK/marked"
    [[ $(wc -l <"$WORK/marked") = 26 ]]
}

cannot_listen() {
    refuses 'EACCES' door "node -e 'require(\"net\").createServer().listen(23)'"
}
