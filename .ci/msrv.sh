#!/usr/bin/env bash
# Checks the library crates with the oldest Rust that they promise to build with.
#
#   msrv.sh TARGET_DIRECTORY
set -euo pipefail
target=$1
version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
libraries=(--package duologue-core --package duologue-async --package duologue-tokio --package duologue-futures-io
    --package duologue-async-std --package duologue-smol --package duologue-blocking --package duologue-sim
    --package duologue-laws)
for protocol in protocols/*/Cargo.toml; do
    libraries+=(--package "$(sed -n 's/^name = "\(.*\)"$/\1/p' "$protocol" | head -1)")
done

.ci/rust-versions.py "$version"

if toolchain=$(.ci/msrv-toolchain.sh "$version" "$target/msrv-toolchain"); then
    export PATH="$toolchain:$PATH" RUSTC="$toolchain/rustc"
    echo "with $(cargo --version), $(rustc --version)"
    cargo check --locked "${libraries[@]}" --all-features --target-dir "$target/msrv"
    cargo check --locked --package duologue-core --no-default-features --target-dir "$target/msrv"
else
    echo "No Rust $version can be had here. The promise was checked only by clippy's incompatible_msrv (a step before)"
    echo "and by the rust-version that every package in Cargo.lock declares."
fi
