#!/bin/sh
# Counts instructions per WebSocket message with valgrind, as instructions.sh does for frames.
#
#   benches/instructions-websocket.sh [WHO...]
#
# From what parses, the copying of the reads is taken off: it is the same for all, and where the C library copies with
# `rep movsb` valgrind counts one instruction per byte.
set -eu
cd "$(dirname "$0")/.."

few=20000
many=120000
all="parse-by-hand parse-owned parse-borrowed parse-tungstenite parse-fastwebsockets
serialise-by-hand serialise-owned serialise-borrowed serialise-tungstenite serialise-fastwebsockets"
[ $# -gt 0 ] || set -- $all

command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
# Incremental builds are cut in many units, and inline less: by hand costs half as much again.
CARGO_INCREMENTAL=0 cargo build --quiet --release -p duologue-benches
sessions="${CARGO_TARGET_DIR:-target}/release/sessions"

collected() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$sessions" --websocket-only "$1" --frames "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

per_message() {
    echo $((($(collected "$1" $many) - $(collected "$1" $few)) / (many - few)))
}

copying=$(per_message parse-copy)
printf '%-26s %s\n' "" 'instructions per message'
for who in "$@"; do
    case $who in
    parse-*) printf '%-26s %d (and %d of copying)\n' "$who" $(($(per_message "$who") - copying)) "$copying" ;;
    *) printf '%-26s %d\n' "$who" "$(per_message "$who")" ;;
    esac
done
