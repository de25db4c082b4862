#!/usr/bin/env bash
# Checks that the README's first `sh` block names exactly the commands given, one a line, in this order.
set -euo pipefail
found=$(awk '/^```sh$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md | sed 's/ *#.*//')
expected=$(printf '%s\n' "$@")
if [[ $found != "$expected" ]]; then
    printf 'the first `sh` block of README.md says\n%s\nbut this run checks\n%s\n' "$found" "$expected" >&2
    exit 1
fi
printf '%s\n' "$found"
