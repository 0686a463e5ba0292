#!/bin/sh
# Records of the WAL that a copy can see: $1 timeline, $2 first LSN, $3 the copy's PGDATA,
# $4 seconds, $5 a relation as spc/db/file or empty, $6 blocks as 12|13 or empty.
# With a relation: its records that write one of the blocks, the first 5 of each. Without: every relation touched.
# Last line: "end <number of records read>"; 0 says that nothing could be read.
set -u
tli=$1 lsn=$2 data=$3 limit=$4 relation=$5 blocks=$6
links=$(mktemp -d) || exit 1
trap 'rm -rf "$links"' EXIT
# The archive last: a whole segment wins over one that is still being filled.
for file in "$data"/pg_wal/* /sock/salvaged/* /archive/*/*; do
    case ${file##*/} in
        *[!0-9A-F]*) ;;
        ????????????????????????) [ -r "$file" ] && ln -sf "$file" "$links/" ;;
    esac
done
# pg_waldump waits 5 s for a segment that is not there, so it is told where the last one ends.
last=$(ls "$links" | grep "^$(printf %08X "$tli")" | tail -n 1)
[ -n "$last" ] || { echo "end 0"; exit 0; }
size=$(wc -c <"$links/$last")
number=$((0x$(echo "$last" | cut -c9-16) * (0x100000000 / size) + 0x$(echo "$last" | cut -c17-24) + 1))
until=$(printf '%X/%X' $((number * size >> 32)) $((number * size & 0xFFFFFFFF)))
# The end of the WAL is an error to pg_waldump; what it read until then counts.
timeout "$limit" pg_waldump -p "$links" -t "$tli" -s "$lsn" -e "$until" ${relation:+-R "$relation"} >"$links/out" 2>"$links/err"
if [ $? -eq 124 ]; then echo "end 0"; exit 0; fi
if [ -n "$relation" ]; then
    grep -E "rel $relation( fork main)? blk ($blocks)( |\$|,)" "$links/out" | cut -c1-400 | awk -v blocks="$blocks" '
        BEGIN { n = split(blocks, block, "|") }
        { for (i = 1; i <= n; i++) if ($0 ~ " blk " block[i] "( |$|,)" && told[block[i]]++ < 5) { print; next } }'
else
    grep -oE 'rel [0-9]+/[0-9]+/[0-9]+' "$links/out" | sort -u
fi
if grep -qE 'could not (find|open|locate|read)' "$links/err" && [ ! -s "$links/out" ]; then echo "end 0"; exit 0; fi
echo "end $(($(wc -l <"$links/out") + 1))"
