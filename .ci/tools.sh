#!/usr/bin/env bash
# Installs the tools that are missing: a C and a C++ compiler, python3, ss and ip, iptables.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need cc gcc
need c++ g++
need python3 python3
need ss iproute2
need ip iproute2
need iptables iptables
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[[ -f /usr/include/stdio.h ]] || missing+=(libc6-dev)

if ((${#missing[@]})); then
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "missing, and only root on a Debian system can install them here: ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    echo "installing ${missing[*]}"
    apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
fi
cargo --version
rustc --version
cargo fmt --version
cargo clippy --version
python3 --version
