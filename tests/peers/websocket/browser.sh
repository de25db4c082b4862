#!/bin/sh
# Two pages of the chat example in a real browser: see browser.mjs. It takes CHROMIUM=path, or `chromium`, which root on Debian
# gets installed.
#
#     browser.sh
#
# Skips, with the reason, when there is no browser or a registry does not answer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
if [ -z "$CHROMIUM" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium"
    (timeout 120 apt-get -qq update && timeout 300 apt-get install -y -qq chromium) >/dev/null 2>&1 || true
    CHROMIUM=$(command -v chromium || true)
fi
[ -n "$CHROMIUM" ] || { echo "skipped: no browser is here and none can be installed (apt-get install chromium)" && exit 0; }
folder=$(sh "$here/install.sh" npm) || { [ $? = 75 ] && echo "skipped: no registry" && exit 0; exit 1; }
export CHROMIUM NODE_FOLDER="$folder"
(cd "$root" && cargo build --quiet --release -p duologue-tokio --example websocket_chat)
log=$(mktemp)
"$target/release/examples/websocket_chat" 2>"$log" &
pid=$!
# Ends only what was started here.
trap 'kill "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
# A signal ends the script, which a trap of the signal alone would not.
trap 'exit 130' INT TERM
for _ in $(seq 100); do
    address=$(sed -n 's/^chatting on //p' "$log")
    [ -n "$address" ] && break
    sleep 0.05
done
[ -n "$address" ] || { echo "the chat does not start:" && cat "$log" && exit 1; }
timeout 90 node "$here/browser.mjs" "$address/"
