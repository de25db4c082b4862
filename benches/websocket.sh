#!/bin/bash
# WebSocket: duologue next to loops by hand and to the crates people use: echo over loopback, frames in memory, idle
# connections. Prints tables in Markdown, and its progress on standard error.
#
#   benches/websocket.sh            builds, then measures for three to four minutes
#   QUICK=1 benches/websocket.sh    only shows that everything works: its figures mean little
#
# Figures of one run are compared with each other only. Times are medians of rounds in which the contestants take turns;
# instructions are counted by valgrind, and left out where it is not installed.
set -euo pipefail
cd "$(dirname "$0")/websocket-peers"
rounds=7 messages=600000 quick=
if [ -n "${QUICK:-}" ]; then rounds=2 messages=50000 quick=--quick; fi
cargo build --release --quiet
built="${CARGO_TARGET_DIR:-target}/release"

timeout 150 "$built/peers" echo --rounds "$rounds" --messages "$messages"
timeout 90 "$built/peers" memory --rounds "$rounds" --messages "$messages"
timeout 60 "$built/idle"
if command -v valgrind > /dev/null; then
    timeout 240 "$built/peers" instructions $quick
else
    echo "valgrind is not installed: instructions are left out" >&2
fi
