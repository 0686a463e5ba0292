"""What lies beside the data of Redis, an ACL file say, goes over into the directory in their place."""

from activities.redis_files import Place
from activities.volume_pair import Ready
from domain.redis_backups import RedisFiles

_CARRY = """
tar -C "$live" --anchored "$@" -cf /tmp/carried.tar . || exit 24
tar -C "$restored" --skip-old-files -xpf /tmp/carried.tar || exit 24
chown --reference="$live" "$restored" && chmod --reference="$live" "$restored" || exit 24
sync -f "$restored"
"""


def carried_over(place: Place, files: RedisFiles) -> Ready:
    """Return what carries over all but what was restored and what a server leaves when it is killed."""
    data = place.below(".")
    left = (files.snapshot, files.aof_directory, files.aof_name, "temp-*")
    return Ready(_CARRY, tuple(f"--exclude={data}/{name}" for name in left), ("CHOWN",))
