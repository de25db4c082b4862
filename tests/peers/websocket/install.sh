#!/bin/sh
# Installs the conformance runner (Autobahn's cases) into a virtual environment, once.
#
#     install.sh [FOLDER]     default: $CARGO_TARGET_DIR/peers/websocket, or target/peers/websocket
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=${1:-${CARGO_TARGET_DIR:-$root/target}/peers/websocket}
if [ ! -x "$folder/bin/kosoku" ]; then
    mkdir -p "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check kosoku==0.1.0
fi
echo "$folder"
