#!/bin/bash
# Starts PostgreSQL as the official image does: as root it gives PGDATA to uid 999 and drops to it;
# an empty PGDATA is initialised, with a temporary server that listens on the socket alone while
# /docker-entrypoint-initdb.d runs, so that no client sees a half-made database over TCP.
set -Eeuo pipefail

read_secret() { # NAME: the value of $NAME, or of the file named by $NAME_FILE
    local name="$1" file="${1}_FILE"
    if [ -n "${!file:-}" ]; then printf '%s' "$(<"${!file}")"; else printf '%s' "${!name:-}"; fi
}

initialise() {
    local user password database
    user="${POSTGRES_USER:-postgres}"
    database="${POSTGRES_DB:-$user}"
    password="$(read_secret POSTGRES_PASSWORD)"
    if [ -z "$password" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "POSTGRES_PASSWORD is empty and the data directory has to be initialised" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") \
        --auth-local=trust --auth-host=trust ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w start -o "-c listen_addresses='' -p 5432"
    if [ "$database" != postgres ]; then
        echo 'CREATE DATABASE :"db";' |
            psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$user" -d postgres --set db="$database"
    fi
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$user" -d "$database" -f "$file" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
}

if [ "${1:0:1}" = '-' ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        # Root may lack the right to look into a 0700 directory of another user, so it only hands over
        # directories that are still its own and leaves the rest to the owner.
        mkdir -p "$PGDATA"
        for directory in "$PGDATA" /run/postgresql; do
            if [ "$(stat -c %U "$directory")" != postgres ]; then chown -R postgres:postgres "$directory"; fi
        done
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" || true
    if [ ! -s "$PGDATA/PG_VERSION" ]; then initialise; fi
    unset POSTGRES_PASSWORD PGPASSWORD || true
fi
exec "$@"
