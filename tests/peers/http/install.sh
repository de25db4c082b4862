#!/bin/sh
# Installs the peers that are missing: curl, wrk, ab (apache2-utils), nginx, openssl, nc.
set -eu
missing=""
for pair in curl:curl wrk:wrk ab:apache2-utils nginx:nginx openssl:openssl nc:netcat-openbsd; do
    command -v "${pair%%:*}" > /dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
