#!/usr/bin/env bash
# Fuzzes for long: fuzz/run-long.sh TARGET|all SECONDS. What is found grows fuzz/grown/TARGET, which is not committed;
# afterwards the smallest set of inputs that covers the same code replaces fuzz/corpus/TARGET, which is.
#
#   FUZZ_SANITIZER   none (default) or address
set -euo pipefail
cd "$(dirname "$0")/.."
. fuzz/tools.sh
if (($# != 2)); then
    echo "usage: fuzz/run-long.sh TARGET|all SECONDS; targets: $(fuzz_targets | tr '\n' ' ')" >&2
    exit 2
fi
if ! why=$(fuzz_tools); then
    echo "$why" >&2
    exit 1
fi
fuzz_build
targets=$1
# The canary has a bug and no corpus to grow: .ci/fuzz.sh runs it.
[[ $1 == all ]] && targets=$(fuzz_targets | grep -v '^canary$')

failed=0
for target in $targets; do
    grown=fuzz/grown/$target
    mkdir -p "$grown" "fuzz/artifacts/$target"
    echo "=== $target, $2 s"
    "$(fuzz_binary "$target")" "$grown" "fuzz/corpus/$target" -max_total_time="$2" -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" $(fuzz_options "$target") || failed=1
    # Edges and not how often they are taken: a corpus of some dozen small files, and not of thousands.
    small=$(mktemp -d)
    "$(fuzz_binary "$target")" -set_cover_merge=1 -use_counters=0 "$small" "fuzz/corpus/$target" "$grown" \
        $(fuzz_options "$target") 2>&1 | grep -a 'new files' || true
    rm -rf "fuzz/corpus/$target"
    mv "$small" "fuzz/corpus/$target"
    chmod 755 "fuzz/corpus/$target"
    echo "fuzz/corpus/$target: $(find "fuzz/corpus/$target" -type f | wc -l) files," \
        "$(du -sb "fuzz/corpus/$target" | cut -f1) bytes; look at the difference and commit it"
done
exit $failed
