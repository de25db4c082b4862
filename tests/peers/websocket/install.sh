#!/bin/sh
# Installs the peers from their registries, once: the conformance runner (Autobahn's cases), PyPI's `websockets` and
# `aiohttp` into a virtual environment, npm's `ws` and `playwright-core` beside it. Prints the folder.
#
#     install.sh [FOLDER]     default: $CARGO_TARGET_DIR/peers/websocket, or target/peers/websocket
#
# Ends with status 75 and a reason when a registry does not answer: the caller may skip what needs it.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=${1:-${CARGO_TARGET_DIR:-$root/target}/peers/websocket}
# The versions that docs/conformance.md tells of.
pypi="kosoku==0.1.0 websockets==17.4.* aiohttp==3.14.*"
npm="ws@8.23 playwright-core@1"

unavailable() {
    echo "the peers cannot be installed: $1" >&2
    exit 75
}

# What was installed is written down, so that another list installs again.
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$pypi $npm" ]; then
    mkdir -p "$folder"
    [ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
    # shellcheck disable=SC2086 # one word for each package
    timeout 180 "$folder/bin/pip" install --quiet --disable-pip-version-check $pypi >&2 || unavailable "PyPI"
    # shellcheck disable=SC2086
    timeout 180 npm install --prefix "$folder" --silent --no-audit --no-fund --no-package-lock $npm >&2 || unavailable "npm"
    echo "$pypi $npm" >"$folder/installed"
fi
echo "$folder"
