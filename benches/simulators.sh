#!/bin/sh
# Echoes per CPU-second in simulated networks: duologue-sim, madsim, turmoil, and a binary heap with framing.
#
#   benches/simulators.sh [ROUNDS]      default 5; 1 with few echoes is a test that everything works: QUICK=1
#
# The contestants take turns, round by round, each run a process of its own; printed is the median of the rounds, and
# its ratio to duologue (in place). CPU time, not wall time: other work on the machine disturbs little.
set -eu
cd "$(dirname "$0")/simulators"
rounds=${1:-5}
build=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR="$build/turmoil" cargo build --release --quiet --features turmoil
# madsim replaces the runtime of all that is built.
RUSTFLAGS="--cfg madsim" CARGO_TARGET_DIR="$build/madsim" cargo build --release --quiet --features madsim

# Echoes of one run, so that each takes some tenths of a second.
echoes() {
    case "$1 $2 $3" in
        turmoil\ 1\ 100) count=500 ;;
        turmoil\ 64\ 100) count=25000 ;;
        turmoil\ 1\ *) count=20000 ;;
        turmoil\ 64\ *) count=300000 ;;
        madsim\ *) count=250000 ;;
        *\ 1\ *) count=1000000 ;;
        *) count=4000000 ;;
    esac
    if [ -n "${QUICK:-}" ]; then count=$((count / 100)); fi
    echo "$count"
}

figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
contestants="duologue duologue-owned heap madsim turmoil"
for round in $(seq "$rounds"); do
    for in_flight in 1 64; do
        for millis in 0 1 100; do
            for name in $contestants; do
                if [ "$name" = madsim ]; then binary="$build/madsim"; else binary="$build/turmoil"; fi
                rate=$("$binary/release/duologue-benches-simulators" "$name" $in_flight $millis "$(echoes "$name" $in_flight $millis)")
                echo "$name $in_flight $millis $rate" >> "$figures"
            done
        done
    done
    echo "round $round of $rounds" >&2
done

median() { grep "^$1 $2 $3 " "$figures" | cut -d' ' -f4 | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "| contestant | in flight | latency | echoes per CPU-second | duologue is |"
echo "|---|---:|---:|---:|---:|"
for in_flight in 1 64; do
    for millis in 0 1 100; do
        ours=$(median duologue $in_flight $millis)
        for name in $contestants; do
            median "$name" $in_flight $millis | awk -v ours="$ours" -v row="$name | $in_flight | $millis ms" \
                '{ n = $1; unit = ""; if (n >= 1e6) { n /= 1e6; unit = " M" } else if (n >= 1e3) { n /= 1e3; unit = " k" }
                   printf "| %s | %.*f%s | %.2f times |\n", row, (n < 10 ? 2 : n < 100 ? 1 : 0), n, unit, ours / $1 }'
        done
    done
done
