# What `.ci/fuzz.sh` and `fuzz/run-long.sh` share. To be sourced from the root of the repository.

fuzz_target_dir=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
fuzz_host=$(rustc -vV | sed -n 's/^host: //p')

# Finds or installs what fuzzing needs; otherwise prints what is missing and fails.
fuzz_tools() {
    if ! cargo +nightly --version >/dev/null 2>&1; then
        echo "there is no nightly toolchain (rustup toolchain install nightly)"
        return 1
    fi
    if ! command -v c++ >/dev/null; then
        echo "there is no C++ compiler to build libFuzzer with (apt-get install g++)"
        return 1
    fi
    if ! cargo fuzz --version >/dev/null 2>&1; then
        echo "installing cargo-fuzz" >&2
        if ! timeout 600 cargo install cargo-fuzz --locked >&2; then
            echo "cargo-fuzz is not installed and cannot be installed from here"
            return 1
        fi
    fi
}

# The name of every target: its file in fuzz_targets.
fuzz_targets() { basename -s .rs fuzz/fuzz_targets/*.rs; }

fuzz_build() {
    (cd fuzz && CARGO_TARGET_DIR="$fuzz_target_dir" cargo +nightly fuzz build --fuzz-dir . \
        --sanitizer "${FUZZ_SANITIZER:-none}")
}

fuzz_binary() { echo "$fuzz_target_dir/$fuzz_host/release/$1"; }

# What suits a target: how long its inputs may be, and whether they start long. One run of a simulated network takes
# milliseconds, so its inputs would never grow by themselves.
fuzz_options() {
    case $1 in
    faults) echo "-max_len=200 -len_control=0 -timeout=20" ;;
    canary) echo "-max_len=128 -timeout=20 -seed=1" ;;
    *) echo "-max_len=512 -timeout=20" ;;
    esac
}
