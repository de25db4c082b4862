#!/bin/sh
# Installs what the test peer needs (protobuf) into a virtual environment, once, and prints where.
#
#     install.sh [FOLDER]     default: $CARGO_TARGET_DIR/peers/brpc, or target/peers/brpc
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
. "$here/../certificates.sh"
folder=${1:-${CARGO_TARGET_DIR:-$root/target}/peers/brpc}
if [ ! -f "$folder/installed" ]; then
    mkdir -p "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check protobuf==6.33.0
    touch "$folder/installed"
fi
echo "$folder"
