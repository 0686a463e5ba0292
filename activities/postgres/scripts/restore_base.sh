# Copies the base backup at $4 into PGDATA ($1) of the new volume. $2 names recovery, attempt and backup,
# $3 is the volume's root.
# The marker dr.recovery is written last: without it the directory is incomplete and is done again.
# Exit: 0 done, 20 the volume's root belongs to somebody else, 21 no room, 22 the backup cannot be read.
set -u
data=$1
identity=$2
backup=$4
[ -w "$3" ] || exit 20
mkdir -p "$data" && chmod 0700 "$data" || exit 20
marker="$data/dr.recovery"
if [ -f "$marker" ] && [ "$(sed -n 1p "$marker")" = "$identity" ]; then
    echo "done $(sed -n 2p "$marker")"
    exit 0
fi
find "$data" -mindepth 1 -delete || exit 20
# pg_basebackup makes neither links nor pipes; one that is there now came after the backup was judged.
# What stands for the backup itself must not be a link either, and inside this container none leads to the host.
if [ -L "$backup" ] || [ -L "${backup%/*}" ] || [ -n "$(find "$backup" ! -type f ! -type d)" ]; then
    echo "it holds a link or a pipe, which is not followed"
    exit 22
fi
began=$(date +%s%N)
total=$(du -sk "$backup" | cut -f1) || exit 22
copied() { du -sk "$data" 2>/dev/null | cut -f1; }
errors=/dev/shm/errors # in memory: a full disk takes no complaints
cp -a "$backup"/. "$data"/ 2>"$errors" &
copy=$!
while kill -0 "$copy" 2>/dev/null; do
    echo "$(( $(copied) * 1024 )) $(( total * 1024 ))"
    sleep 0.4
done
if ! wait "$copy"; then
    head -n 3 "$errors"
    find "$data" -mindepth 1 -delete
    grep -q "No space left" "$errors" && exit 21
    exit 22
fi
rm -f "$marker"
# Names and sizes of every file against the manifest; contents were verified when the backup was chosen.
if [ -f "$data/backup_manifest" ]; then
    pg_verifybackup --skip-checksums --no-parse-wal "$data" || exit 22
fi
initdb --sync-only -D "$data" >/dev/null || exit 21
bytes=$(( $(copied) * 1024 ))
ended=$(date +%s%N)
case $began$ended in
    *[!0-9]*) spent=$(( (${ended%N} - ${began%N}) * 1000 )) ;; # a date program without nanoseconds
    *) spent=$(( (ended - began) / 1000000 )) ;;
esac
printf '%s\n%s\n' "$identity" "$bytes $spent" >"$marker.new"
sync "$marker.new" 2>/dev/null || sync
mv "$marker.new" "$marker"
sync "$data" 2>/dev/null || sync
echo "done $bytes $spent"
