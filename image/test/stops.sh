#!/bin/bash
# In a container of the gateway's image: starts the entrypoint over and over, with a bastion that only
# waits and a gateway that ends at once, and stops it at some moment of its first second.
set -euo pipefail
RUNS=20

PATH=$(mktemp -d):$PATH
cd "${PATH%%:*}"
# Where the gateway would be started, and what marks its lines.
printf '#!/bin/sh\nexit 1\n' >./nice
printf '#!/bin/sh\nexec cat >/dev/null\n' >./setpriv
# shellcheck disable=SC2016 # Perl's
printf '#!/usr/bin/perl\n$SIG{TERM} = sub { exit }; sleep 1 while 1;\n' >./bastion
chmod +x nice setpriv bastion

for run in $(seq "$RUNS"); do
    entrypoint.sh >log 2>&1 &
    entrypoint=$!
    sleep "0.$((RANDOM % 9))5"
    kill -TERM "$entrypoint"
    for _ in $(seq 100); do
        kill -0 "$entrypoint" 2>/dev/null || continue 2
        sleep 0.1
    done
    echo "run $run: it has not ended 10 s after SIGTERM, and has said $(wc -l <log) lines, the last:"
    tail -n 3 log
    kill -KILL "$entrypoint"
    exit 1
done
