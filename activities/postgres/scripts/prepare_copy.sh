# Looks at the restored volume and at the damaged one, and makes the restored one a standby ($3 = standby).
# $1 PGDATA in the restored volume, $2 PGDATA in the damaged one.
set -u
restored=$1
damaged=$2
echo "== restored"
pg_controldata "$restored" 2>&1
echo "== damaged"
pg_controldata "$damaged" 2>&1
echo "== end"
[ "${3:-}" = standby ] || exit 0
[ -f "$restored/dr.recovery" ] || { echo "the restored volume is not complete" >&2; exit 20; }
# Once a server ran here, its own files say what it is.
if [ -f "$restored/backup_label" ]; then
    rm -f "$restored/recovery.signal"
    auto="$restored/postgresql.auto.conf"
    if [ -f "$auto" ]; then
        grep -v -i -E '^[[:space:]]*(recovery_|restore_command|archive_cleanup_command|primary_conninfo|primary_slot_name|promote_trigger_file|standby_mode)' \
            "$auto" >"$auto.dr"
        cmp -s "$auto" "$auto.dr" && rm "$auto.dr" || mv "$auto.dr" "$auto"
    fi
    touch "$restored/standby.signal"
fi
