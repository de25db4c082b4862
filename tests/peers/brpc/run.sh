#!/bin/sh
# The Python peer against both roles of duologue-brpc over real sockets; fails on any difference.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=$(sh "$here/install.sh")/bin/python
(cd "$root" && cargo build --quiet --release -p duologue-tokio --example brpc_echo)
echo=${CARGO_TARGET_DIR:-$root/target}/release/examples/brpc_echo
exec timeout 120 "$python" "$here/peer.py" "$echo"
