#!/bin/sh
# Talks over real sockets with npm `ws`, PyPI `websockets` and `aiohttp`, in both roles, with permessage-deflate and
# without: see tests/src/websocket.rs for what is done. Each step of it is bounded in time.
#
#     interop.sh [LIBRARY ...]     default: all, tokio-tungstenite and fastwebsockets, 64 writers over 1 000 connections
#
# Skips, with the reason, when a registry does not answer. Each line of progress begins with the seconds gone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
folder=$(sh "$here/install.sh") || { [ $? = 75 ] && echo "skipped: no registry" && exit 0; exit 1; }
export NODE_FOLDER="$folder"
(cd "$root" && cargo build --quiet --release -p duologue-tests --example websocket_peer)
ours=$target/release/examples/websocket_peer
out=$(mktemp -d)
pids=
# Ends only what was started here.
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; rm -rf "$out"' EXIT
# A signal ends the script, which a trap of the signal alone would not.
trap 'exit 130' INT TERM

began=$(date +%s)
say() { printf '[%3d s] %s\n' $(($(date +%s) - began)) "$*"; }

# Starts a server and sets $address and $pid once it says where it listens.
serve() {
    : >"$out/server"
    "$@" >"$out/server" 2>"$out/errors" &
    pid=$!
    pids="$pids $pid"
    for _ in $(seq 1200); do
        address=$(sed -n 's/^listening //p' "$out/server")
        [ -n "$address" ] && return
        sleep 0.05
    done
    echo "$* does not start:" && cat "$out/errors" && exit 1
}

peer() {
    library=$1
    shift
    case $library in
    ws) timeout 60 node "$here/ws.mjs" "$@" ;;
    *) timeout 60 "$folder/bin/python" "$here/peer.py" "$library" "$@" ;;
    esac
}

# How often our server told this end, once it did.
ends() {
    for _ in $(seq 1200); do
        count=$(grep -c "^end $1 " "$out/server" || true)
        [ "$count" -ge "$2" ] && return
        sleep 0.05
    done
    echo "  FAILED: our server told $count instead of $2 times: $1" && cat "$out/server" && exit 1
}

for library in ${*:-ws websockets aiohttp}; do
    say "$library as the server"
    abilities=
    # It has no way to send fragments, and answers any Close with 1000.
    [ $library = aiohttp ] && abilities="--no-fragments --any-code"
    # A background function would be a shell; what is killed is to be the server itself.
    if [ $library = ws ]; then
        serve node "$here/ws.mjs" server
    else
        serve "$folder/bin/python" "$here/peer.py" $library server
    fi
    # shellcheck disable=SC2086
    timeout 60 "$ours" check "$address" --deflate $abilities
    # shellcheck disable=SC2086
    timeout 60 "$ours" check "$address" $abilities --kill "$pid"
    for deflate in "" --deflate; do
        say "$library as the client${deflate:+, $deflate}"
        # shellcheck disable=SC2086
        serve "$ours" serve $deflate
        peer $library client "ws://$address"
        for code in 1000 1001 3000 4999; do ends "/ours $code peer-close" 1; done
        if [ $library = aiohttp ]; then
            # Whatever our Close says, its answer says 1000.
            ends "/theirs 1000 local-close" 4
        else
            for code in 1000 1001 3000 4321; do ends "/theirs $code local-close" 1; done
        fi
        ends "/fin 1006" 1
        # What an earlier one said must not be taken for this one's word: a background job empties its file when it comes to it.
        : >"$out/victim"
        if [ $library = ws ]; then
            node "$here/ws.mjs" victim "ws://$address" >"$out/victim" &
        else
            "$folder/bin/python" "$here/peer.py" $library victim "ws://$address" >"$out/victim" &
        fi
        victim=$!
        pids="$pids $victim"
        # On a machine that is busy an interpreter takes long to start.
        for _ in $(seq 1200); do
            grep -q ready "$out/victim" && break
            sleep 0.05
        done
        grep -q ready "$out/victim" || { echo "  FAILED: the one to be killed does not connect" && exit 1; }
        kill -9 "$victim"
        ends "/victim 1006" 1
        echo "  killed: $(sed -n 's/^end .victim 1006 \([^ ]*\).*/\1/p' "$out/server")"
        kill "$pid"
    done
done
if [ $# = 0 ]; then
    say "64 writers, 1000 connections, ws as the server"
    serve node "$here/ws.mjs" reaper
    timeout 90 "$ours" writers "$address"
    say "tokio-tungstenite and fastwebsockets, both roles"
    (cd "$root" && timeout 600 cargo test --quiet -p duologue-tests --test interop_websocket)
fi
say "WebSocket interoperation: ${*:-ws websockets aiohttp tokio-tungstenite fastwebsockets}, both roles, with and without compression"
