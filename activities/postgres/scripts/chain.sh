# Walks the WAL that the copy can be given, segment by segment from $1 (a segment's name), and prints where it
# ends: last=<LSN of the last whole record>, segment=<its segment>, source=<archive|salvaged pg_wal|partial>.
# $2 PGDATA of the damaged server; $3 = open: its pg_wal and the receiver's partial join the chain; $4 size of a
# segment in hexadecimal; $5 = ends: what follows a gap is given up. A salvaged segment counts only when its first
# page says that it is the one of its name: recycled segments carry future names and old content.
set -u
name=$1
damaged=$2/pg_wal
mode=$3
size=$((0x$4))
timeline=${name%????????????????}

# last_record FILE: LSN of the last whole record that FILE holds; FILE carries its 24-digit name.
last_record() {
    pg_waldump "$1" 2>/dev/null | tail -n 1 | sed -n 's/, desc:.*//; s/.* lsn: \([0-9A-F]*\/[0-9A-F]*\),.*/\1/p'
}
position() { echo $(( (0x${1%/*} << 32) + 0x${1#*/} )); }
# genuine FILE NAME: the page header (magic, info, timeline, address) is the one that belongs to NAME.
genuine() {
    [ -r "$1" ] || { echo "dr: $1 cannot be read" >&2; exit 30; }
    rest=${2#????????}
    wanted=$(printf '%s%08X%08X' "$timeline" "0x${rest%????????}" $(( 0x${rest#????????} * size )))
    set -- $(od -An -tx1 -N16 "$1" | tr a-f A-F)
    [ $# -eq 16 ] || return 1
    [ "$8$7$6$5${16}${15}${14}${13}${12}${11}${10}$9" = "$wanted" ]
}
archived() {
    for directory in /archive/*/; do
        [ -f "$directory$1" ] && [ ! -L "$directory$1" ] && { found=$directory$1; return 0; }
    done
    return 1
}
next() {
    rest=${1#????????}
    high=$((0x${rest%????????}))
    low=$(( 0x${rest#????????} + 1 ))
    [ $(( low * size )) -ge 4294967296 ] && { low=0; high=$(( high + 1 )); }
    printf '%s%08X%08X\n' "$timeline" "$high" "$low"
}
# offer NAME FILE: restore_wal.sh gives FILE out under NAME.
offer() { ln -sf "$2" "/sock/salvaged/$1.new" && mv -f "/sock/salvaged/$1.new" "/sock/salvaged/$1"; }
# Where the archive has no whole segment, the one that reads further wins: a shorter one ends recovery early.
salvaged() {
    found=
    if [ -e "$damaged/$1" ] && genuine "$damaged/$1" "$1"; then
        found=$damaged/$1
        kind="salvaged pg_wal"
    fi
    if [ -e "/sock/aside/$1" ] && genuine "/sock/aside/$1" "$1"; then
        ours=$(last_record "/sock/aside/$1")
        theirs=$([ -n "$found" ] && last_record "$found")
        if [ -z "$found" ] || [ "$(position "${ours:-0/0}")" -gt "$(position "${theirs:-0/0}")" ]; then
            found=/sock/aside/$1
            kind=partial
        fi
    fi
    [ -n "$found" ] && offer "$1" "$found"
}

if [ "$mode" = open ]; then
    mkdir -p /sock/salvaged /sock/aside
    for history in "$damaged"/*.history; do
        [ -r "$history" ] && offer "$(basename "$history")" "$history"
    done
fi
segment=
source=
file=
before=
while :; do
    kind=archive
    archived "$name" || { [ "$mode" = open ] && salvaged "$name"; } || break
    before=$file
    file=$found
    source=$kind
    segment=$name
    name=$(next "$name")
done
# A later segment that is genuine although this one is missing is a gap; a gap is never passed over in silence.
gap=
for candidate in /archive/*/"$timeline"* "$damaged/$timeline"*; do
    other=$(basename "$candidate")
    [ ${#other} -eq 24 ] && [ -e "$candidate" ] || continue
    case $candidate in "$damaged"/*) [ "$mode" = open ] || continue ;; esac
    [ "$(printf '%s\n%s\n' "$other" "$name" | sort | tail -n 1)" = "$name" ] && continue
    genuine "$candidate" "$other" && { gap=$other; break; }
done
last=
[ -n "$file" ] && last=$(last_record "$file")
# The last segment may hold nothing but the end of a record that began in the one before.
[ -z "$last" ] && [ -n "$before" ] && last=$(last_record "$before")
[ "$mode" = open ] && { [ -z "$gap" ] || [ "${5:-}" = ends ]; } && : >/sock/salvage-open
echo "last=$last"
echo "segment=$segment"
echo "source=$source"
echo "missing=$name"
echo "gap=$gap"
