#!/bin/sh
# Counts instructions per decoded frame with valgrind, which does not depend on what else the machine does.
# Not part of CI: it needs valgrind, and the figures change with the compiler.
#
#   benches/instructions.sh [DECODER...]
#
# Each decoder runs twice, over few and over many frames; the difference leaves out what starting costs. Copying a
# chunk into the decoder's buffer is part of it, the same for all: where the C library copies with `rep movsb`,
# valgrind counts one instruction per byte.
set -eu
cd "$(dirname "$0")/.."

few=20000
many=120000
all="prefix-by-hand prefix-by-hand-owned prefix-tokio-util prefix-owned prefix-borrowed lines-by-hand lines-tokio-util lines-owned lines-borrowed"
[ $# -gt 0 ] || set -- $all

command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 1; }
cargo build --quiet --release -p duologue-benches
sessions="${CARGO_TARGET_DIR:-target}/release/sessions"

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$sessions" --decode-only "$1" --frames "$2" 2>&1 |
        sed -n 's/.*Collected : //p'
}

printf '%-20s %s\n' decoder 'instructions per frame'
for decoder in "$@"; do
    printf '%-20s %d\n' "$decoder" $((($(count "$decoder" $many) - $(count "$decoder" $few)) / (many - few)))
done
