#!/bin/sh
# Writes what compose.yaml needs: .env, and in secrets/ the console's keys, the passwords of its stores and a certificate
# signed by itself. What is there already is kept.
#
#   sh deploy/bin/secrets.sh console.example.org
#
# The folder is closed to other users of this host. Its files are readable, because the users in the containers, whose
# ids differ, see the single files only.
set -eu
cd "$(dirname "$0")/../.."
[ $# = 1 ] || { echo "Usage: sh deploy/bin/secrets.sh HOST-NAME" >&2; exit 2; }
command -v openssl >/dev/null || { echo "openssl is needed. Install it (apt-get install openssl)." >&2; exit 1; }
host=$1
umask 022
mkdir -p secrets
chmod 700 secrets

# secret NAME COMMAND…: the command's output, without the line's end
secret() {
    name=$1
    shift
    [ -s "secrets/$name" ] || "$@" | tr -d '\n' >"secrets/$name"
}

secret secret_key openssl rand -hex 48
# Node tokens derive from it. Back it up; docs/runbooks/master-key.md says what its loss means.
secret master_key openssl rand -base64 32
secret metrics_token openssl rand -hex 24
secret postgres_password openssl rand -hex 24
secret clickhouse_password openssl rand -hex 24
secret grafana_password openssl rand -hex 12
# NATS would take one that begins with a digit for a number.
secret nats_password sh -c 'printf n; openssl rand -hex 24'
secret nats_machines_password sh -c 'printf n; openssl rand -hex 24'

if [ ! -s secrets/tls_certificate ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host,DNS:proxy" -keyout secrets/tls_key -out secrets/tls_certificate 2>/dev/null
    chmod 644 secrets/tls_key
fi

if [ ! -e .env ]; then
    printf '%s\n' "# Everything else that can be set is in .env.example." \
        "JATEVO_BASE_URL=https://$host" "JATEVO_ALLOWED_HOSTS=$host" >.env
fi
echo "secrets/ and .env are ready. Replace secrets/tls_certificate and secrets/tls_key by those of your authority."
