"""Two volumes whose directories change places in one rename, and how to tell which of the two is where.

The exchange is its own inverse. So it is looked at and made under one lock, by the inodes that the two
directories had before the first attempt: these travel with it, and whoever comes later sees on which side of
it the host is (S4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activities.engine import Engine, Job
from domain.errors import Refused

STRANGE = 21
"""One of the directories is not the recorded one; nothing was exchanged."""
UNFIT = 22
"""What is in the restored directory may not go live; nothing was exchanged."""
KILOBYTE = 1024
# Volumes $1 (live) and $2 (restored), $3 look or swap, $4 and $5 the inodes that their directories had, then
# the words of what makes the restored one ready.
_SCRIPT = """
set -u
first=/volumes/$1 second=/volumes/$2 mode=$3 old=$4 new=$5
live=$first/_data restored=$second/_data
shift 5
exec 9<"$first" || exit 20
flock 9 || exit 20
look() {{
    now_live=$(stat -c %i "$live") && now_restored=$(stat -c %i "$restored") || exit 20
    state=strange
    [ "$now_live" = "$old" ] && [ "$now_restored" = "$new" ] && state=before
    [ "$now_live" = "$new" ] && [ "$now_restored" = "$old" ] && state=swapped
}}
look
if [ "$mode" = swap ]; then
    [ "$state" = strange ] && {{ echo "state=strange"; exit {strange}; }}
    if [ "$state" = before ]; then
        [ -n "$(ls -A "$restored")" ] || exit {unfit}
        {ready}
        mv --exchange -T "$live" "$restored" || exit 23
        sync "$first" "$second"
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
"""


@dataclass(frozen=True)
class Ready:
    """What a store has done to the restored directory, or asks of it, right before the exchange."""

    script: str = ":"
    """Knows ``$live``, ``$restored`` and its own words; ends with status 22 when it refuses the directory."""
    words: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


def refuse_unplain(engine: Engine, *names: str) -> None:
    """Refuse (``volume-not-plain``) a volume whose data do not lie in a directory of Docker's own."""
    for name in names:
        found = engine.volume(name)
        if found is None or found["Driver"] != "local" or found.get("Options"):
            raise Refused(
                f"the volume {name} is missing or not a plain local one",
                hint="its data is not in _data, so the directories cannot be exchanged",
                code="volume-not-plain",
            )


def pair_of(live: str, restored: str, said: Mapping[str, str]) -> dict[str, Any]:
    """Return what is recorded of two volumes before anything moves, as the job that looked ``said`` it."""
    return {
        "restored_volume": restored,
        "live_volume": live,
        "live_inode": said["live"],
        "restored_inode": said["restored"],
    }


def exchange_job(
    engine: Engine,
    image_id: str,
    name: str,
    pair: Mapping[str, Any],
    mode: str,
    labels: Mapping[str, str],
    ready: Ready = Ready(),
) -> Job:
    """Return the job that looks at two volumes (``look``) or exchanges them unless that was done (``swap``).

    It prints ``state=before|swapped|strange``, and ``live=``, ``device_live=``, ``owner_live=`` with their
    likes of the restored one; after an exchange ``kept_bytes=``, which is in kilobytes. ``image_id`` has
    ``mv --exchange``.
    """
    inodes = (str(pair.get("live_inode", "")), str(pair.get("restored_inode", "")))
    script = _SCRIPT.format(strange=STRANGE, unfit=UNFIT, ready=ready.script)
    return Job(
        name=name,
        image_id=image_id,
        entrypoint=("sh",),
        command=(
            "-c",
            script,
            "dr",
            pair["live_volume"],
            pair["restored_volume"],
            mode,
            *inodes,
            *ready.words,
        ),
        user="0:0",
        binds={f"{engine.root()}/volumes": "/volumes:rw"},
        labels=labels,
        capabilities=("DAC_OVERRIDE", "FOWNER", *ready.capabilities),
    )


def ensure_kept(
    engine: Engine, name: str, image_id: str, volume: str, labels: Mapping[str, str], *, at: str = "/kept"
) -> None:
    """Have a container that is never started hold the kept volume against prune and rm."""
    keeper = Job(
        name=name,
        image_id=image_id,
        entrypoint=("false",),
        command=(),
        binds={volume: f"{at}:ro"},
        labels=labels,
    )
    engine.ensure_job(keeper, start=False)


def strange(live: str, restored: str) -> Refused:
    """Return the refusal of two directories that are not as they were recorded."""
    return Refused(
        "one of the two directories is not the one that was recorded, or not where it was put",
        where=f"{live}, {restored}",
        hint="this recovery exchanged nothing now; look at both volumes by hand",
        code="swap-strange",
    )
