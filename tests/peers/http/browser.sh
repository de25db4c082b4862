#!/bin/bash
# A page with EventSource in headless Chromium against our server, which is interrupted (it drains) and killed meanwhile.
#
#   tests/peers/http/browser.sh           builds the server and runs the check
#   tests/peers/http/browser.sh --built   uses target/release/examples as they are
#
# Needs node, npm and Chromium (Debian: nodejs npm chromium); playwright-core is installed from npm into a temporary folder.
# What is missing is said and skipped. Exit code 1 if the check fails.
set -u
cd "$(dirname "$0")/../../.."
target="${CARGO_TARGET_DIR:-target}/release/examples"
skip() { echo "skipped browser: $1"; exit 0; }
command -v node > /dev/null || skip "node is missing"
command -v npm > /dev/null || skip "npm is missing"
chromium="${CHROMIUM:-$(command -v chromium || command -v chromium-browser)}" || skip "Chromium is missing"
if [ "${1:-}" != "--built" ]; then
    cargo build --release -q -p duologue-tokio --example http_server || exit 1
fi
. tests/peers/certificates.sh
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
(cd "$work" && echo '{ "private": true }' > package.json && timeout 120 npm install --silent --no-audit --no-fund playwright-core@1) \
    > "$work/npm" 2>&1 || skip "playwright-core cannot be installed: $(tail -n 1 "$work/npm")"
cp tests/peers/http/browser.mjs "$work/"
HOME="$work" timeout 120 node "$work/browser.mjs" "$target/http_server" "$chromium"
