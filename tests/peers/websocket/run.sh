#!/bin/sh
# Runs Autobahn's WebSocket cases against the echo server and the client of duologue-tokio, and fails on any failure.
#
#     run.sh [FOLDER]         the reports stay in FOLDER; default: $CARGO_TARGET_DIR/conformance/websocket
#
# In both roles: all 301 cases without compression, with owned events and with events in place, and one case of each group
# of the permessage-deflate cases. DEFLATE=all runs all 216 of those, which takes many minutes. Each run is bounded in
# time; what a run that took too long did not get to counts as failed.
#
# Ends with status 75 and the reason, and not as passed, when a registry does not answer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=${1:-$target/conformance/websocket}
kosoku=$(sh "$here/install.sh" pypi)/bin/kosoku
examples=$target/release/examples
# In 13.2, 13.5 and 13.6 a fuzzing server grants only an offer with client_no_context_takeover: a client runs them apart.
if [ "${DEFLATE:-smoke}" = all ]; then
    common="-i 12.* -i 13.1.* -i 13.3.* -i 13.4.* -i 13.7.*" common_count=162
    forgetting="-i 13.2.* -i 13.5.* -i 13.6.*" forgetting_count=54
else
    common="-i 12.1.1 -i 12.2.1 -i 12.3.1 -i 12.4.1 -i 12.5.1 -i 13.1.1 -i 13.3.1 -i 13.4.1 -i 13.7.1" common_count=9
    forgetting="-i 13.2.1 -i 13.5.1 -i 13.6.1" forgetting_count=3
fi

(cd "$root" && cargo build --quiet --release -p duologue-tokio --example websocket_echo --example websocket_client)
mkdir -p "$out"
# What an earlier run reported must not be taken for this one's word.
rm -f "$out"/*/index.json
pids=
# Ends only what was started here.
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done' EXIT
# A signal ends the script, which a trap of the signal alone would not.
trap 'exit 130' INT TERM

# Starts the echo server on a free port, which it prints, and sets $port.
serve() {
    # What an earlier server said must not be taken for this one's word.
    : >"$out/echo.log"
    "$examples/websocket_echo" "$@" 2>"$out/echo.log" &
    pids="$pids $!"
    port=
    for _ in $(seq 100); do
        port=$(sed -n 's|^echoing on ws://127.0.0.1:||p' "$out/echo.log")
        [ -n "$port" ] && return
        sleep 0.1
    done
    echo "the echo server does not start:" && cat "$out/echo.log" && exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Counts the outcomes of a report, and fails unless all of its cases passed.
judge() {
    python3 - "$1" "$2" "$3" <<'PYTHON'
import collections, json, sys, time
from pathlib import Path

name, folder, expected = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
cases, agents = {}, None
# A fuzzing server goes on writing its report for a moment after the client was told that it is done.
for _ in range(100):
    try:
        agents = json.loads((folder / "index.json").read_text())
        break
    except (OSError, ValueError):
        time.sleep(0.1)
if agents is None:
    sys.exit(f"{name}: no report in {folder}")
for agent in agents.values():
    cases.update(agent)
outcomes = collections.Counter(case["behavior"] for case in cases.values())
closes = collections.Counter(case["behaviorClose"] for case in cases.values())
print(f"{name}: {len(cases)} cases, {dict(outcomes)}, closing {dict(closes)}")
# Not strict: what comes before a violation in the same read is delivered, and its echo is not waited for any more.
good = {"OK", "NON-STRICT", "INFORMATIONAL"}
bad = [id for id, case in cases.items() if case["behavior"] not in good or case["behaviorClose"] not in good]
for id in bad[:20]:
    print(f"  {id}: {cases[id]['behavior']}, closing {cases[id]['behaviorClose']}")
if bad or not cases or (expected and len(cases) != expected):
    sys.exit(f"{name}: {len(bad)} cases did not pass, {len(cases)} of {expected or 'any'} were run")
PYTHON
}

for events in owned borrowed; do
    serve --events "$events"
    timeout 900 "$kosoku" -m fuzzingclient -x '12.*' -x '13.*' -o "$out/server-$events" "127.0.0.1:$port" >"$out/server-$events.log" 2>&1 || true
    judge "server, $events events" "$out/server-$events" 301
done

# Runs a fuzzing server with the given choice of cases and our client against it, with the options in $options.
client() {
    name=$1 expected=$2
    shift 2
    port=$(free_port)
    "$kosoku" -m fuzzingserver "$@" -o "$out/$name" "127.0.0.1:$port" >"$out/$name.log" 2>&1 &
    fuzzer=$!
    pids="$pids $fuzzer"
    for _ in $(seq 100); do
        python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2>/dev/null && break
        sleep 0.1
    done
    # shellcheck disable=SC2086 # one word for each option
    timeout 1800 "$examples/websocket_client" "ws://127.0.0.1:$port" --cases duologue $options
    judge "client${options:+, $options}" "$out/$name" "$expected"
    kill "$fuzzer" 2>/dev/null || true
}

for events in owned borrowed; do
    options="--events $events"
    client "client-$events" 301 -x '12.*' -x '13.*'
done

serve --deflate
# What follows has patterns in its words, which are not for the shell.
set -f
# shellcheck disable=SC2086 # one word for each option
timeout 1800 "$kosoku" -m fuzzingclient $common $forgetting -o "$out/deflate" "127.0.0.1:$port" >"$out/deflate.log" 2>&1 || true
judge "server, permessage-deflate" "$out/deflate" $((common_count + forgetting_count))
options="--deflate"
# shellcheck disable=SC2086
client client-deflate $common_count $common
options="--deflate --no-context-takeover"
# shellcheck disable=SC2086
client client-deflate-forgetting $forgetting_count $forgetting
