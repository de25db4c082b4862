#!/bin/bash
# Counts the instructions that a server spends in user space for one request, ours beside hyper's, with valgrind: a figure
# that the load of the machine does not change. The kernel's share is not counted; benches/http.sh measures both. hyper has
# no deadlines by itself; the last columns are hyper with its one (for the head of a request), ours has one for each phase.
#
#   benches/instructions-http.sh [--built] [LOAD...]
#
# A load is keep-alive (one connection), keep-alive-64 (64 connections that ask at the same time) or connect (a connection for
# each request, HTTP/1.0 as ab asks). PROFILE=DIRECTORY keeps what callgrind wrote of the longer run of each.
set -eu
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

few=1024
many=4096
target="${CARGO_TARGET_DIR:-target}/release"
if [ "${1:-}" = "--built" ]; then
    shift
else
    cargo build --release -q -p duologue-tokio --example http_server
    cargo build --release -q -p duologue-benches --bin http_hyper
fi
for tool in valgrind python3; do
    command -v "$tool" > /dev/null || { echo "skipped: $tool is missing"; exit 0; }
done
[ $# -gt 0 ] || set -- keep-alive keep-alive-64 connect

work="$(mktemp -d)"
process=
finish() {
    [ -z "$process" ] || kill -9 "$process" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

cat > "$work/ask.py" << 'PY'
import socket, sys

load, port, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
host = f"127.0.0.1:{port}"
keep = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
once = f"GET / HTTP/1.0\r\nHost: {host}\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n".encode()


def dial():
    s = socket.create_connection(("127.0.0.1", port), timeout=60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def answer(s):
    data = b""
    while not data.endswith(b"Hello, world!"):
        piece = s.recv(4096)
        assert piece, data
        data += piece


if load == "connect":
    for _ in range(requests):
        with dial() as s:
            s.sendall(once)
            data = b""
            while piece := s.recv(4096):
                data += piece
            assert data.endswith(b"Hello, world!"), data
else:
    sockets = [dial() for _ in range(64 if load == "keep-alive-64" else 1)]
    for _ in range(requests // len(sockets)):
        for s in sockets:
            s.sendall(keep)
        for s in sockets:
            answer(s)
PY

collected() { # name, load, requests: instructions of the whole run
    local command log="$work/log"
    case "$1" in
        ours) command=("$target/examples/http_server" --port 0) ;;
        hyper) command=("$target/http_hyper" 0) ;;
        deadlines) command=("$target/http_hyper" 0 --deadlines) ;;
    esac
    : > "$log"
    valgrind --tool=callgrind --callgrind-out-file="$work/$1-$2" "${command[@]}" 2> "$log" &
    process=$!
    for _ in $(seq 300); do grep -q "^serving on .*:[0-9]" "$log" && break; sleep 0.1; done
    local url
    url="$(sed -n 's/^serving on //p' "$log")"
    timeout 120 python3 "$work/ask.py" "$2" "${url##*:}" "$3" >&2
    kill "$process"
    wait "$process" 2> /dev/null || true
    process=
    sed -n 's/.*Collected : //p' "$log"
}
per_request() { # name, load
    local least most
    least="$(collected "$1" "$2" $few)"
    most="$(collected "$1" "$2" $many)"
    echo $(((most - least) / (many - few)))
}

echo "| load | instructions per request ours | hyper | ratio | hyper with a deadline | ratio |"
echo "|---|---|---|---|---|---|"
for load in "$@"; do
    ours="$(per_request ours "$load")" hyper="$(per_request hyper "$load")" timed="$(per_request deadlines "$load")"
    awk -v l="$load" -v o="$ours" -v h="$hyper" -v t="$timed" \
        'BEGIN { printf "| %s | %d | %d | %.2f | %d | %.2f |\n", l, o, h, o / h, t, o / t }'
    if [ -n "${PROFILE:-}" ]; then
        mkdir -p "$PROFILE"
        cp "$work/ours-$load" "$work/hyper-$load" "$PROFILE/"
    fi
done
