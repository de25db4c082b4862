#!/bin/bash
# Our HTTP/1.1 server and hyper's, asked by wrk and ab in turn, in one run; then what each close order and each kind of
# client leaves in TIME_WAIT.
#
#   benches/http.sh            builds, measures, prints tables in Markdown
#   ROUNDS=5 SECONDS_EACH=5 benches/http.sh --built
#
# The numbers of one run are compared with each other only. CPU is the server's own, user and system, from /proc.
set -eu
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}/release"
rounds="${ROUNDS:-3}"
seconds="${SECONDS_EACH:-3}"
many="${REQUESTS:-30000}"
PATH="$PATH:/usr/sbin"
if [ "${1:-}" != "--built" ]; then
    cargo build --release -q -p duologue-tokio --example http_server --example http_client
    cargo build --release -q -p duologue-benches --bin http_hyper
fi
for tool in wrk ab python3; do
    command -v "$tool" > /dev/null || { echo "skipped: $tool is missing (Debian: wrk, apache2-utils)"; exit 0; }
done

work="$(mktemp -d)"
processes=()
finish() {
    for process in "${processes[@]}"; do kill "$process" 2> /dev/null || true; done
    wait 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

url= process=
serve() { # name, command...
    local log="$work/$1.log"
    shift
    : > "$log"
    "$@" 2> "$log" &
    process=$!
    processes+=("$process")
    for _ in $(seq 100); do grep -q "^serving on .*:[0-9]" "$log" && break; sleep 0.05; done
    url="$(sed -n 's/^serving on //p' "$log")"
    [ -n "$url" ] || { echo "a server did not start: $*" >&2; exit 1; }
}
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; } # of CPU, 1/100 s each
time_wait() { # port: at the server, at its clients
    awk -v port="$(printf ':%04X' "$1")" '$4 == "06" { s += ($2 ~ port "$"); c += ($3 ~ port "$") } END { print s + 0, c + 0 }' \
        /proc/net/tcp /proc/net/tcp6
}

serve ours "$target/examples/http_server" --port 0
ours_url="$url" ours="$process"
serve hyper "$target/http_hyper" 0
hyper_url="$url" hyper="$process"

# name, load, requests, requests per second, CPU microseconds per request
: > "$work/rows"
measure() { # name, url, process, load, command...
    local name="$1" at="$2" pid="$3" load="$4" before requests rate
    shift 4
    before="$(ticks "$pid")"
    timeout 300 "$@" "$at/" > "$work/out"
    case "$1" in
        wrk)
            requests="$(awk '/requests in/ { print $1 }' "$work/out")"
            rate="$(awk '/Requests\/sec/ { print $2 }' "$work/out")"
            ;;
        ab)
            requests="$(awk '/Complete requests/ { print $3 }' "$work/out")"
            rate="$(awk '/Requests per second/ { print $4 }' "$work/out")"
            ;;
    esac
    awk -v n="$name" -v l="$load" -v q="$requests" -v r="$rate" -v t="$(($(ticks "$pid") - before))" \
        'BEGIN { printf "%s\t%s\t%d\t%.1f\t%.3f\n", n, l, q, r, t * 10000 / q }' >> "$work/rows"
}
pipeline="$work/pipeline.lua"
cat > "$pipeline" << 'LUA'
init = function() local r = {} for i = 1, 16 do r[i] = wrk.format("GET", "/") end req = table.concat(r) end
request = function() return req end
LUA
for _ in $(seq "$rounds"); do
    for who in ours hyper; do
        at="${who}_url"
        measure "$who" "${!at}" "${!who}" "wrk, 1 connection" wrk -t1 -c1 -d"${seconds}s"
        measure "$who" "${!at}" "${!who}" "wrk, 64 connections" wrk -t1 -c64 -d"${seconds}s"
        measure "$who" "${!at}" "${!who}" "wrk, 64 connections, 16 requests ahead" wrk -t1 -c64 -d"${seconds}s" -s "$pipeline"
        measure "$who" "${!at}" "${!who}" "ab -k, 64 connections" ab -q -k -n 50000 -c 64
        measure "$who" "${!at}" "${!who}" "ab, a connection for each request" ab -q -n 10000 -c 64
    done
done
python3 - "$work/rows" << 'PY'
import statistics, sys
rows, order = {}, []
for line in open(sys.argv[1]):
    name, load, _, rate, cpu = line.rstrip("\n").split("\t")
    if load not in order:
        order.append(load)
    rows.setdefault((load, name), []).append((float(rate), float(cpu)))
print("| load | requests/s ours | hyper | ratio | CPU µs per request ours | hyper | ratio |")
print("|---|---|---|---|---|---|---|")
for load in order:
    (ro, co), (rh, ch) = ([statistics.median(v) for v in zip(*rows[load, name])] for name in ("ours", "hyper"))
    print(f"| {load} | {ro:,.0f} | {rh:,.0f} | {ro / rh:.2f} | {co:.2f} | {ch:.2f} | {co / ch:.2f} |")
PY

echo
echo "| $many requests of | sockets opened | requests per second | errors | TIME_WAIT at the client | at the server |"
echo "|---|---|---|---|---|---|"
for order in local-first peer-first; do
    for kind in naive pooled; do
        serve "$order-$kind" "$target/examples/http_server" --port 0 --close-order "$order"
        flag= && [ "$kind" = naive ] && flag=--naive
        timeout 300 "$target/examples/http_client" "$url/" --requests "$many" --connections 8 $flag > "$work/out" || true
        read -r at_server at_client <<< "$(time_wait "${url##*:}")"
        awk -v w="the $kind client, server $order" -v s="$at_server" -v c="$at_client" \
            '/sockets opened/ { o = $1 } /requests per second/ { r = $1 } /errors/ { e = $(NF - 1) }
             END { printf "| %s | %s | %s | %s | %s | %s |\n", w, o, r, e, c, s }' "$work/out"
        kill "$process" && wait "$process" 2> /dev/null || true
    done
    # Without keep-alive ab waits for the server's FIN: a server that lets the client go first waits as well, each time
    # until its own deadline.
    [ "$order" = local-first ] || continue
    serve "$order-ab" "$target/examples/http_server" --port 0 --close-order "$order"
    timeout 300 ab -q -n "$many" -c 8 "$url/" > "$work/out" || true
    read -r at_server at_client <<< "$(time_wait "${url##*:}")"
    awk -v w="ab without -k, server $order" -v s="$at_server" -v c="$at_client" -v n="$many" \
        '/Requests per second/ { r = $4 } /Failed requests/ { e = $3 }
         END { printf "| %s | %s | %.0f | %s | %s | %s |\n", w, n, r, e, c, s }' "$work/out"
    kill "$process" && wait "$process" 2> /dev/null || true
done
