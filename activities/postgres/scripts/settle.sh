# Looks at the stopped copy's PGDATA ($1) and carries the configuration of the damaged server's PGDATA ($2) over
# to it: it is not in WAL, so the restored files are those of the backup. $3 = carry: do it; $4 = quiet: the
# autovacuum=off in the damaged server's auto.conf is ours and stays behind.
# Prints what pg_controldata says, signal=<file> for each signal file, carried=<name> and refused=<name>.
set -u
data=$1
damaged=$2
pg_controldata "$data" || exit 20
for name in standby.signal recovery.signal; do
    [ -e "$data/$name" ] && echo "signal=$name"
done
[ "${3:-}" = carry ] || exit 0
leftovers='^[[:space:]]*(recovery_|restore_command|archive_cleanup_command|primary_conninfo|primary_slot_name|promote_trigger_file|standby_mode)'
[ "${4:-}" = quiet ] && leftovers="$leftovers|^[[:space:]]*autovacuum[[:space:]]*="
carry() { # NAME FILE
    [ -f "$2" ] && [ -r "$2" ] || return 0
    cp -p "$2" "$data/$1.dr-new" || exit 21
    if [ "$1" = postgresql.auto.conf ]; then
        grep -v -i -E "$leftovers" "$2" >"$data/$1.dr-new"
    fi
    # A damaged file is not carried over: text has no zero bytes, and a configuration is not empty.
    if ! tr -d '\000' <"$2" | cmp -s - "$2" || { [ ! -s "$2" ] && [ -s "$data/$1" ]; }; then
        rm -f "$data/$1.dr-new"
        echo "refused=$1"
        return 0
    fi
    if cmp -s "$data/$1.dr-new" "$data/$1"; then
        rm -f "$data/$1.dr-new"
        return 0
    fi
    [ -f "$data/$1" ] && [ ! -f "$data/$1.dr-backup" ] && cp -p "$data/$1" "$data/$1.dr-backup"
    mv -f "$data/$1.dr-new" "$data/$1"
    if ! postgres -D "$data" -C max_connections >/dev/null 2>&1; then
        [ -f "$data/$1.dr-backup" ] && mv -f "$data/$1.dr-backup" "$data/$1" || rm -f "$data/$1"
        echo "refused=$1"
        return 0
    fi
    echo "carried=$1"
}
for name in postgresql.conf postgresql.auto.conf pg_ident.conf; do
    carry "$name" "$damaged/$name"
done
# The original access rules, not the fence.
if [ -f "$damaged/pg_hba.conf.dr-kept" ]; then
    carry pg_hba.conf "$damaged/pg_hba.conf.dr-kept"
else
    carry pg_hba.conf "$damaged/pg_hba.conf"
fi
for file in "$damaged"/*.crt "$damaged"/*.key "$damaged"/*.pem "$damaged"/*.crl; do
    carry "$(basename "$file")" "$file"
done
# What only the restore needed does not go into the live volume.
rm -f "$data/dr.recovery" "$data"/*.dr-backup
sync
