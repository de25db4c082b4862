# Sourced: npm and pip bring certificates of their own. Where the registries are reached through a proxy whose certificate only
# the system knows, they would not answer; so both are told of the system's, unless somebody told them of others.
system=/etc/ssl/certs/ca-certificates.crt
if [ -f "$system" ]; then
    export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$system}" PIP_CERT="${PIP_CERT:-$system}"
fi
