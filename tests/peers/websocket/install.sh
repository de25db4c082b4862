#!/bin/sh
# Installs the peers from their registries, once: the conformance runner (Autobahn's cases), PyPI's `websockets` and
# `aiohttp` into a virtual environment, npm's `ws` and `playwright-core` beside it. Prints the folder.
#
#     install.sh [PART ...]     pypi, npm; default: both
#
# The folder is $CARGO_TARGET_DIR/peers/websocket, or target/peers/websocket. Ends with status 75 and a reason when a registry
# does not answer: the caller may skip what needs it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
folder=${CARGO_TARGET_DIR:-$root/target}/peers/websocket
# The versions that docs/conformance.md tells of.
pypi="kosoku==0.1.0 websockets==17.4.* aiohttp==3.14.*"
npm="ws@8.23 playwright-core@1"
. "$here/../certificates.sh"

unavailable() {
    echo "the peers cannot be installed: $1 does not answer" >&2
    exit 75
}
# What was installed is written down, so that another list installs again.
there() {
    [ "$(cat "$folder/installed-$1" 2>/dev/null)" = "$2" ]
}

mkdir -p "$folder"
for part in ${*:-pypi npm}; do
    case $part in
    pypi)
        there pypi "$pypi" && continue
        [ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
        # shellcheck disable=SC2086 # one word for each package
        timeout 180 "$folder/bin/pip" install --quiet --disable-pip-version-check $pypi >&2 || unavailable "PyPI"
        echo "$pypi" >"$folder/installed-pypi"
        ;;
    npm)
        there npm "$npm" && continue
        # shellcheck disable=SC2086
        timeout 180 npm install --prefix "$folder" --silent --no-audit --no-fund --no-package-lock $npm >&2 || unavailable "npm"
        echo "$npm" >"$folder/installed-npm"
        ;;
    *)
        echo "no such part: $part; there are pypi and npm" >&2
        exit 2
        ;;
    esac
done
echo "$folder"
