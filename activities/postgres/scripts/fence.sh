# Closes a server by its pg_hba.conf ($1) to everybody but $3 on its own socket and to the receiver, or opens it
# again ($2 = open). The original is kept once and never overwritten. Writes no WAL.
# Prints state=closed|already|opened|untouched.
set -eu
hba=$1
mode=$2
kept=$hba.dr-kept
mark="# dr: closed for a recovery"
fenced() { [ "$(sed -n 1p "$hba" 2>/dev/null)" = "$mark" ]; }
# A file that is mounted on its own cannot be renamed over; it is written in place then.
put() { mv -f "$1" "$2" 2>/dev/null || { cat "$1" >"$2" && rm -f "$1"; }; }

if [ "$mode" = open ]; then
    if fenced && [ -f "$kept" ]; then
        cp -p "$kept" "$hba.dr-new"
        put "$hba.dr-new" "$hba"
        state=opened
    else
        state=untouched
    fi
    fenced || rm -f "$kept"
    sync
    echo "state=$state"
    exit 0
fi
if fenced; then
    [ -f "$kept" ] || { echo "the original of $hba is gone" >&2; exit 20; }
    echo "state=already"
    exit 0
fi
if [ -f "$kept" ] && ! cmp -s "$kept" "$hba"; then
    mv "$kept" "$kept.$(date +%s)"
fi
if [ ! -f "$kept" ]; then
    cp -p "$hba" "$hba.dr-new"
    mv "$hba.dr-new" "$kept"
fi
{
    echo "$mark"
    echo "local all \"$3\" trust"
    # What lets the receiver in from loopback stays as it was; wider lines are narrowed to loopback.
    awk '
        /^[[:space:]]*#/ || $1 !~ /^host/ || $2 !~ /(^|,)"?replication"?(,|$)/ { next }
        {
            method = 5
            if ($5 ~ /^[0-9.:a-fA-F]+$/ && $5 ~ /[.:]/) method = 6
            if ($4 !~ /^(127\.|::1|localhost|samehost|samenet|all$|0\.0\.0\.0\/0|::\/0)/) next
            rest = ""
            for (i = method; i <= NF; i++) rest = rest " " $i
            print $1, "replication", $3, "127.0.0.1/32" rest
            print $1, "replication", $3, "::1/128" rest
        }' "$kept"
    echo "local all all reject"
    echo "local replication all reject"
    echo "host all all all reject"
    echo "host replication all all reject"
} >"$hba.dr-new"
chmod 0600 "$hba.dr-new"
put "$hba.dr-new" "$hba"
sync
echo "state=closed"
