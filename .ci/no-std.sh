#!/usr/bin/env bash
# Checks that duologue-core needs no standard library.
#
#   no-std.sh TARGET_DIRECTORY
#
# It links and runs a program without std (tests/no-std), checks that the same program cannot be built once std comes in,
# and builds the core for every installed target that has no std at all.
set -euo pipefail
target=$1/no-std

without_std=(--package duologue-core)
for protocol in protocols/*/Cargo.toml; do
    # Those that can do without say so by having a feature for it.
    if grep -q '^std = ' "$protocol"; then
        without_std+=(--package "$(sed -n 's/^name = "\(.*\)"$/\1/p' "$protocol" | head -1)")
    fi
done
cargo build --locked "${without_std[@]}" --no-default-features
run=(--release --locked --manifest-path tests/no-std/Cargo.toml --target-dir "$target")
cargo run "${run[@]}"
echo "a program without std links duologue-core and holds a conversation with it"

if output=$(cargo build "${run[@]}" --features canary 2>&1); then
    echo "with std the program must not build, but it does: this check would notice nothing" >&2
    exit 1
fi
if ! grep -q 'panic_impl' <<<"$output"; then
    printf '%s\nwith std the program fails to build, but not for the reason expected\n' "$output" >&2
    exit 1
fi
echo "with std switched on it does not build, as it must be"

command -v rustup >/dev/null || exit 0
for triple in $(rustup target list --installed | grep -E -- '-none(-|$)' || true); do
    cargo build --locked "${without_std[@]}" --no-default-features --target "$triple" --target-dir "$target"
    echo "built for $triple"
done
