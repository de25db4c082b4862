#!/usr/bin/env bash
# Runs the adapters' tests under Miri and the sanitizers of a nightly toolchain, as far as they are there, and says what
# is not.
#
#   sanitizers.sh TARGET_DIRECTORY [miri] [address] [thread]
#
# Without a name it runs miri and address. Miri interprets: it knows no sockets, so it runs the adapters' shared part
# (queues, wakers, split halves) over memory. AddressSanitizer, with its leak check, and ThreadSanitizer run the tests
# on real sockets. The latter needs a standard library built for it and is ten times slower: on a machine that is busy
# with something else the tests' bounds of 20 s per step fail first.
set -euo pipefail
target=$1
shift
[[ $# -gt 0 ]] || set -- miri address
host=$(rustc -vV | sed -n 's/^host: //p')
socket_tests=(--test sockets_split --test sockets_server --test sockets_cancel --test sockets_drop
    --test behaviour_tokio --test behaviour_blocking --test behaviour_smol --test behaviour_async_std)
threaded_tests=(--test sockets_split --test sockets_server --test behaviour_tokio --test behaviour_blocking)

skip() {
    printf 'skipped: %s: %s\n' "$1" "$2"
}
has() {
    rustup component list --toolchain nightly --installed 2>/dev/null | grep -q "^$1"
}
with() {
    local sanitizer=$1
    shift
    # The tests' runtimes live in statics, so their threads are there at the end: no leak of anybody's.
    export TSAN_OPTIONS="report_thread_leaks=0 suppressions=$PWD/.ci/tsan-suppressions.txt" RUST_BACKTRACE=0
    RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_TARGET_DIR="$target/sanitizers" CARGO_INCREMENTAL=0 \
        CARGO_PROFILE_DEV_DEBUG=1 \
        timeout --foreground 1800 cargo +nightly test --locked --target "$host" "$@"
}

if ! cargo +nightly --version >/dev/null 2>&1; then
    skip "$*" "there is no nightly toolchain"
    exit 0
fi
for what in "$@"; do
    case $what in
        miri)
            if has miri && has rust-src; then
                MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR="$target/sanitizers" \
                    timeout --foreground 900 cargo +nightly miri test --locked -p duologue-async --tests
            else
                skip miri "rustup component add miri rust-src --toolchain nightly was not done"
            fi
            ;;
        address)
            case $host in
                x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu | *-apple-darwin)
                    with address -p duologue-tests "${socket_tests[@]}"
                    ;;
                *) skip address "not supported on $host" ;;
            esac
            ;;
        thread)
            if [[ $host == *-linux-gnu ]] && has rust-src; then
                with thread -Zbuild-std -p duologue-tests "${threaded_tests[@]}"
            else
                skip thread "it needs Linux and rust-src, to build the standard library with it"
            fi
            ;;
        *)
            echo "unknown: $what" >&2
            exit 2
            ;;
    esac
done
