#!/usr/bin/env bash
# Runs every fuzz target briefly, and fails if the canary's planted bug is not found within its budget. Without a nightly
# toolchain or cargo-fuzz the committed corpora are replayed and nothing more.
#
#   FUZZ_SECONDS          seconds for each target, default 15
#   FUZZ_RUNS             runs of each target at most, default 20 000. They are the same every time, so that this tells of a
#                         change and not of luck; new ground is for fuzz/run-long.sh
#   FUZZ_CANARY_SECONDS   the canary's budget, default 60: it is over as soon as the bug is found
#   FUZZ_SANITIZER        none (default: the crates have no unsafe code), or address, which is three times as slow
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$HOME/.cargo/bin"
. fuzz/tools.sh

echo "replaying the corpora"
cargo test -p duologue-fuzz --quiet

if ! why=$(fuzz_tools); then
    echo "only replayed: $why"
    exit 0
fi

seconds=${FUZZ_SECONDS:-15}
runs=${FUZZ_RUNS:-20000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fuzz_build

failed=()
for target in $(fuzz_targets); do
    [[ $target == canary ]] && continue
    mkdir -p "$work/grown/$target" "$work/artifacts"
    # New inputs go into the first folder; the committed ones are only read.
    if timeout $((seconds + 60)) "$(fuzz_binary "$target")" "$work/grown/$target" "fuzz/corpus/$target" \
        -max_total_time="$seconds" -runs="$runs" -seed=1 -artifact_prefix="$work/artifacts/$target-" $(fuzz_options "$target") \
        >"$work/$target.log" 2>&1; then
        printf '%-10s %s\n' "$target" "$(grep -a 'DONE' "$work/$target.log" | tail -1)"
    else
        failed+=("$target")
        printf '%-10s FAILED\n' "$target"
        grep -av '^#[0-9]' "$work/$target.log" | tail -40
        for input in "$work/artifacts/$target-"*; do
            [[ -f $input ]] || continue
            mkdir -p "fuzz/artifacts/$target"
            cp "$input" "fuzz/artifacts/$target/"
            echo "input kept: fuzz/artifacts/$target/$(basename "$input")"
        done
    fi
done

budget=${FUZZ_CANARY_SECONDS:-60}
mkdir -p "$work/canary"
began=$SECONDS
if timeout $((budget + 60)) "$(fuzz_binary canary)" "$work/canary" -max_total_time="$budget" \
    -artifact_prefix="$work/canary-" $(fuzz_options canary) >"$work/canary.log" 2>&1; then
    failed+=(canary)
    echo "canary     FAILED: the planted bug was not found in $budget s; the fuzzing is broken"
    tail -3 "$work/canary.log"
elif grep -aq "it decodes differently" "$work/canary.log"; then
    echo "canary     found after $((SECONDS - began)) s, as it must be"
else
    failed+=(canary)
    echo "canary     FAILED for another reason than the planted bug:"
    tail -20 "$work/canary.log"
fi

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}. To see an input in words: cargo run -p duologue-fuzz --example show -- TARGET FILE"
    exit 1
fi
