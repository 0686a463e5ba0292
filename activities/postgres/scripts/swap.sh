# Exchanges /volumes/$1/_data (live) and /volumes/$2/_data (restored) in one rename. $3 = look or swap; $4 and $5:
# the inodes that the live and the restored directory had beforehand. The exchange is its own inverse, so looking
# and exchanging happen under one lock. Prints live=, restored= (inodes now), device_live=, device_restored=,
# owner_live=, owner_restored=, kept_bytes=, state=before|swapped|strange.
set -u
live=/volumes/$1/_data
restored=/volumes/$2/_data
mode=$3
old=${4:-}
new=${5:-}
exec 9<"/volumes/$1" || exit 20
flock 9 || exit 20
look() {
    now_live=$(stat -c %i "$live") && now_restored=$(stat -c %i "$restored") || exit 20
    state=strange
    [ "$now_live" = "$old" ] && [ "$now_restored" = "$new" ] && state=before
    [ "$now_live" = "$new" ] && [ "$now_restored" = "$old" ] && state=swapped
}
look
if [ "$mode" = swap ]; then
    [ "$state" = strange ] && { echo "state=strange"; exit 21; }
    if [ "$state" = before ]; then
        [ -e "$restored/$6/PG_VERSION" ] && [ ! -e "$restored/$6/standby.signal" ] \
            && [ ! -e "$restored/$6/recovery.signal" ] && [ ! -e "$restored/$6/postmaster.pid" ] || exit 22
        mv --exchange -T "$live" "$restored" || exit 23
        sync "/volumes/$1" "/volumes/$2"
    fi
    look
    echo "kept_bytes=$(du -sk "$restored" | cut -f1)"
fi
echo "live=$now_live"
echo "restored=$now_restored"
echo "device_live=$(stat -c %d "$live")"
echo "device_restored=$(stat -c %d "$restored")"
echo "owner_live=$(stat -c %u:%g:%a "$live")"
echo "owner_restored=$(stat -c %u:%g:%a "$restored")"
echo "state=$state"
