#!/usr/bin/env bash
# Finds a toolchain of the workspace's rust-version, or makes one, and prints the directory with its cargo and rustc.
#
#   msrv-toolchain.sh VERSION DIRECTORY
#
# 1. A rustup toolchain of that version, if one is installed.
# 2. Debian's packages rustc-web and cargo-web of that version, unpacked into DIRECTORY: nothing on the system changes.
#
# Exit code 3: neither is to be had here. Everything but the answer goes to standard error.
set -euo pipefail
version=$1 directory=$2

if command -v rustup >/dev/null; then
    installed=$(rustup toolchain list 2>/dev/null | sed 's/ .*//' | grep -E "^$version(\.[0-9]+)?-" | head -n 1 || true)
    if [[ -n $installed ]]; then
        dirname "$(rustup which --toolchain "$installed" cargo)"
        exit 0
    fi
fi

wrapped=$directory/bin
works() { [[ -x $wrapped/cargo ]] && "$wrapped/cargo" --version >&2 && "$wrapped/rustc" --version | grep -F " $version." >&2; }
if works; then
    echo "$wrapped"
    exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || exit 3
find_release() { apt-cache madison rustc-web 2>/dev/null | awk -v v="$version." 'index($3, v) == 1 && !found++ { print $3 }'; }
release=$(find_release)
if [[ -z $release ]] && ((EUID == 0)); then
    # A fresh machine has no package lists yet.
    apt-get -qq update >&2 || exit 3
    release=$(find_release)
fi
[[ -n $release ]] || exit 3

mkdir -p "$directory/packages"
directory=$(cd "$directory" && pwd)
wrapped=$directory/bin
cd "$directory/packages"

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# Breadth first over the packages that are missing here. The compiler, the C library and the linker are not fetched:
# the rest of the run needs them on the system anyway.
queue=("rustc-web=$release" "cargo-web=$release")
declare -A seen=()
while ((${#queue[@]})); do
    package=${queue[0]} queue=("${queue[@]:1}")
    name=${package%%=*}
    [[ -z ${seen[$name]:-} ]] || continue
    seen[$name]=1
    ls "${name}"_*.deb >/dev/null 2>&1 || apt-get -qq -o APT::Sandbox::User=root download "$package" >&2 || exit 3
    while read -r need how wanted; do
        is_installed "$need" && [[ $how != = ]] && continue
        case $need in gcc | clang | c-compiler | libc-dev | libc6 | libc6-dev | binutils | "") continue ;; esac
        if [[ $how == "=" ]]; then queue+=("$need=$wanted"); else queue+=("$need"); fi
    done < <(dpkg-deb -f "${name}"_*.deb Depends | tr ',' '\n' | sed -E 's/\|.*//; s/:any//; s/[()]//g; s/^ +//; s/ +/ /g')
done
for package in *.deb; do dpkg-deb -x "$package" "$directory/root"; done
rm -f ./*.deb

mkdir -p "$wrapped"
libraries=$(find "$directory/root" \( -name '*.so' -o -name '*.so.*' \) -printf '%h\n' | sort -u | paste -sd :)
for tool in cargo rustc rustdoc; do
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libraries" "$directory/root/usr/bin/$tool" >"$wrapped/$tool"
    chmod +x "$wrapped/$tool"
done
works || exit 3
echo "$wrapped"
