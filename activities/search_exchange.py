"""Exchanges the directories of two volumes in one rename: loaded data go live, the old ones stay aside."""

from typing import Any

from activities.engine import Engine, Job
from activities.pulse import beat
from activities.records import Records
from domain.errors import Refused, Unavailable
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, container_name
from domain.order import Target

KIND = "search-swap"
_STRANGE = 21
_UNFIT = 22
_SECONDS = 300.0
# Looking and exchanging are one act under one lock; the inodes travel with the exchange, so that it can be
# told afterwards, by anybody, on which side of it this is (S4).
_EXCHANGE = f"""
set -u
live=/volumes/$1/_data
fresh=/volumes/$2/_data
exec 9<"/volumes/$1" || exit 20
flock 9 || exit 20
look() {{ now_live=$(stat -c %i "$live") && now_fresh=$(stat -c %i "$fresh") || exit 20; }}
look
if [ "$3" = swap ]; then
    if [ "$now_live" = "$4" ] && [ "$now_fresh" = "$5" ]; then
        [ "$(stat -c %d "$live")" = "$(stat -c %d "$fresh")" ] || exit {_UNFIT}
        [ -n "$(ls -A "$fresh")" ] || exit {_UNFIT}
        mv --exchange -T "$live" "$fresh" || exit 23
        sync "/volumes/$1" "/volumes/$2"
    elif [ "$now_live" != "$5" ] || [ "$now_fresh" != "$4" ]; then
        exit {_STRANGE}
    fi
    look
fi
echo "live=$now_live"
echo "fresh=$now_fresh"
"""


class SearchExchange:
    """Makes the exchange of one recovery, exactly once however often it is asked for."""

    def __init__(self, engine: Engine, records: Records, tools_image: str, target: Target, key: str) -> None:
        """``key`` is the id of the recovery; ``tools_image`` has ``mv --exchange``."""
        self._engine = engine
        self._records = records
        self._tools_image = tools_image
        self._target = target
        self._key = key

    def record(self) -> dict[str, Any] | None:
        """Return what was recorded before the first attempt, if there was one."""
        return self._records.read(KIND, self._key)

    def prepare(self, live: str, fresh: str) -> dict[str, Any]:
        """Record which directory is which, on disk, before anything moves."""
        for name in (live, fresh):
            found = self._engine.volume(name)
            if found is None or found["Driver"] != "local" or found.get("Options"):
                raise Refused(f"the volume {name} is missing or no plain local one", code="volume-not-plain")
        said = self._run("look", live, fresh)
        record = {"live": live, "fresh": fresh, "live_inode": said["live"], "fresh_inode": said["fresh"]}
        return self._records.write_once(KIND, self._key, record)

    def exchange(self, image_id: str) -> None:
        """Exchange unless that was done before; nothing may run on either volume.

        Raises ``Refused`` when one of the directories is a strange one; then nothing was exchanged.
        """
        record = self._records.read(KIND, self._key) or {}
        volumes = {record["live"], record["fresh"]}
        for other in self._engine.labelled():
            mounted = {mount.get("Name") for mount in other.raw["Mounts"]}
            if other.status in {"running", "paused", "restarting"} and mounted & volumes:
                raise Refused(f"{other.name} still uses the data", where=other.id[:12], code="volume-live")
        self._keep(str(record["fresh"]), image_id)
        inodes = (str(record["live_inode"]), str(record["fresh_inode"]))
        self._run("swap", record["live"], record["fresh"], *inodes)
        self._records.write(KIND, self._key, {**record, "done": True})

    def _keep(self, volume: str, image_id: str) -> None:
        """Have a container that is never started hold the old data against prune and rm."""
        self._engine.ensure_job(
            Job(
                name=container_name(self._key, "keeper-search"),
                image_id=image_id,
                entrypoint=("false",),
                command=(),
                binds={volume: "/kept:ro"},
                labels=self._labels("keeper"),
            ),
            start=False,
        )

    def _labels(self, role: str) -> dict[str, str]:
        return {LABEL_RECOVERY: self._key, LABEL_STACK: self._target.stack, LABEL_ROLE: role}

    def _run(self, mode: str, live: str, fresh: str, *inodes: str) -> dict[str, str]:
        job = Job(
            name=container_name(self._key, f"search-{mode}"),
            image_id=self._tools_image,
            entrypoint=("sh",),
            command=("-c", _EXCHANGE, "dr", live, fresh, mode, *inodes),
            user="0:0",
            binds={f"{self._engine.root()}/volumes": "/volumes:rw"},
            labels=self._labels("tools"),
            capabilities=("DAC_OVERRIDE", "FOWNER"),
        )
        old = self._engine.look(job.name)
        if old is not None and old.status in {"created", "exited", "dead"}:
            self._engine.remove(job.name, force=True)
        state, said, _ = self._engine.follow(
            job, lambda _: beat("search: the volumes are exchanged"), limit_seconds=_SECONDS
        )
        self._engine.remove(job.name, force=True)
        if state.exit_code in {_STRANGE, _UNFIT}:
            raise Refused(
                "one of the two directories is not the one that was recorded, or cannot be exchanged",
                where=f"{live}, {fresh}",
                hint="nothing was exchanged now; look at both volumes by hand",
                code="swap-strange",
            )
        if state.exit_code != 0:
            raise Unavailable(f"the exchange failed: {said.strip()[-200:]}", where=live, code="swap-failed")
        pairs = (line.partition("=") for line in said.splitlines() if "=" in line)
        return {name.strip(): value.strip() for name, _, value in pairs}
