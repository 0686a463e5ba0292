"""Exchanges the data of Redis with the restored data in one rename; the old data stays in the other one."""

from typing import Any

from activities.engine import ContainerState, Engine, Job
from activities.pulse import beat
from activities.records import Records
from activities.redis_files import Place
from domain.errors import Refused, Unavailable
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, container_name
from domain.order import ServiceTarget
from domain.redis_backups import RedisFiles
from domain.redis_restore import RedisRestoreOrder

KIND = "redis-swap"
_STOP_SECONDS = 120
_KILOBYTE = 1024
_STRANGE = 21
# Volumes $1 (live) and $2 (restored), $3 look or swap, $4 and $5 the inodes that their directories had, then
# what of the data is not carried over. Looking and exchanging happen under one lock.
_SCRIPT = """
set -u
live=/volumes/$1/_data restored=/volumes/$2/_data mode=$3 old=$4 new=$5
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
    shift 5
    [ "$state" = strange ] && { echo "state=strange"; exit 21; }
    if [ "$state" = before ]; then
        tar -C "$live" --anchored "$@" -cf /tmp/carried.tar . || exit 22
        tar -C "$restored" --skip-old-files -xpf /tmp/carried.tar || exit 22
        chown --reference="$live" "$restored" && chmod --reference="$live" "$restored" || exit 22
        mv --exchange -T "$live" "$restored" || exit 23
        sync "$live" "$restored"
    fi
    look
    echo "kept_bytes=$(du -sk "$restored" | cut -f1)"
fi
echo "live=$now_live"
echo "restored=$now_restored"
echo "device_live=$(stat -c %d "$live")"
echo "device_restored=$(stat -c %d "$restored")"
echo "state=$state"
"""


class RedisExchange:
    """The exchange of one recovery's Redis, which is done exactly once."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        tools_image: str,
        order: RedisRestoreOrder,
        service: ServiceTarget,
    ) -> None:
        """``tools_image`` has ``mv --exchange``."""
        self._engine = engine
        self._records = records
        self._tools_image = tools_image
        self._order = order
        self._service = service
        self._key = f"{order.recovery_id}-{service.name}"
        self.keeper = container_name(order.recovery_id, f"{service.name}-keeper")

    def record(self) -> dict[str, Any] | None:
        """Return what is known of it: the two volumes and inodes, the restart policy, what was kept."""
        return self._records.read(KIND, self._key)

    def ensure_exchanged(self, place: Place, restored: str, files: RedisFiles) -> dict[str, Any]:
        """Stop the server and exchange, unless that was done; return the record, with ``kept_bytes``.

        Raises ``Refused`` when anything is not as it must be; then nothing was exchanged.
        """
        record = self.record()
        if record is not None and record["restored_volume"] != restored:
            if "kept_bytes" in record or self._run(record, "look", ())["state"] != "before":
                raise self._strange(record)
            self._records.remove(KIND, self._key)  # an earlier attempt, which exchanged nothing
            record = None
        if record is None:
            record = self._prepared(place, restored)
        if "kept_bytes" not in record:
            self._stop()
            self._refuse_in_use(record)
            self._keep(record)
            said = self._exchange(record, place, files)
            record |= {"kept_bytes": int(said["kept_bytes"]) * _KILOBYTE}
            self._records.write(KIND, self._key, record)
        return record

    def _prepared(self, place: Place, restored: str) -> dict[str, Any]:
        for name in (place.source, restored):
            found = self._engine.volume(name)
            if found is None or found["Driver"] != "local" or found.get("Options"):
                raise Refused(
                    f"the volume {name} is missing or not a plain local one",
                    hint="its data is not in _data, so the directories cannot be exchanged",
                    code="volume-not-plain",
                )
        record = {
            "live_volume": place.source,
            "restored_volume": restored,
            "live_inode": "",
            "restored_inode": "",
        }
        said = self._run(record, "look", ())
        if said["device_live"] != said["device_restored"]:
            raise Refused("the two volumes are on two filesystems", where=restored, code="volumes-differ")
        policy = self._service.restart_policy
        record |= {"live_inode": said["live"], "restored_inode": said["restored"], "policy": policy}
        # Once: a racing attempt that looked after the exchange would record it the wrong way round.
        return self._records.write_once(KIND, self._key, record)

    def _stop(self) -> None:
        beat(f"stopping {self._service.name}")
        self._engine.set_restart(self._service.container_id, "no")
        self._engine.stop(self._service.container_id, _STOP_SECONDS)
        found = self._engine.look(self._service.container_id)
        if found is None or found.status not in {"exited", "created", "dead"}:
            raise Unavailable(
                f"{self._service.name} does not stop", where=self._service.container_name, code="not-stopped"
            )

    def _refuse_in_use(self, record: dict[str, Any]) -> None:
        """Refuse while any container runs on either volume: it would keep the directory that it opened."""
        volumes = {record["live_volume"], record["restored_volume"]}
        paths = tuple(f"{self._engine.root()}/volumes/{name}/" for name in volumes)
        for other in self._engine.running():
            if _runs_on(other, volumes, paths):
                raise Refused(
                    f"the container {other.name} runs on a volume that has to be ours alone",
                    where=", ".join(sorted(volumes)),
                    hint="stop it; a running container keeps the directory that it opened",
                    code="volume-in-use",
                )

    def _keep(self, record: dict[str, Any]) -> None:
        """Have a container that is never started hold the kept volume against prune and rm."""
        keeper = Job(
            name=self.keeper,
            image_id=self._service.image_id,
            entrypoint=("false",),
            command=(),
            binds={record["restored_volume"]: "/kept:ro"},
            labels=self._labels("keeper"),
        )
        self._engine.ensure_job(keeper, start=False)

    def _exchange(self, record: dict[str, Any], place: Place, files: RedisFiles) -> dict[str, str]:
        data = place.below(".")
        left = (files.snapshot, files.aof_directory, files.aof_name, "temp-*")
        said = self._run(record, "swap", tuple(f"--exclude={data}/{name}" for name in left))
        if said.get("state") != "swapped":
            raise Unavailable("the exchange failed", where=record["live_volume"], code="swap-failed")
        return said

    def _run(self, record: dict[str, Any], mode: str, words: tuple[str, ...]) -> dict[str, str]:
        job = Job(
            name=container_name(self._order.recovery_id, f"{self._service.name}-{mode}"),
            image_id=self._tools_image,
            entrypoint=("sh",),
            command=("-c", _SCRIPT, "dr", record["live_volume"], record["restored_volume"], mode,
                     record["live_inode"], record["restored_inode"], *words),
            user="0:0",
            binds={f"{self._engine.root()}/volumes": "/volumes:rw"},
            labels=self._labels("tools"),
            capabilities=("DAC_OVERRIDE", "FOWNER", "CHOWN"),
        )  # fmt: skip
        self._remove_ended(job.name)
        state, log, _ = self._engine.follow(job, beat, limit_seconds=600)
        self._engine.remove(state.id, force=True)
        said = {key: value for key, _, value in (line.partition("=") for line in log.splitlines())}
        if state.exit_code == _STRANGE:
            raise self._strange(record)
        if state.exit_code != 0:
            raise Unavailable(f"the volumes cannot be exchanged: {log.strip()[-200:]}", code="swap-failed")
        return said

    def _remove_ended(self, name: str) -> None:
        """Remove the job of an earlier attempt when it is over: its answer may be stale."""
        old = self._engine.look(name)
        if old is not None and old.status in {"created", "exited", "dead"}:
            self._engine.remove(old.id, force=True)

    def _labels(self, role: str) -> dict[str, str]:
        order = self._order
        return {LABEL_RECOVERY: order.recovery_id, LABEL_STACK: order.target.stack, LABEL_ROLE: role}

    def _strange(self, record: dict[str, Any]) -> Refused:
        return Refused(
            "one of the two directories is not the one that was recorded, or not where it was put",
            where=f"{record['live_volume']}, {record['restored_volume']}",
            hint="this recovery exchanged nothing now; look at both volumes by hand",
            code="swap-strange",
        )


def _runs_on(container: ContainerState, volumes: set[str], paths: tuple[str, ...]) -> bool:
    return any(
        mount.get("Name") in volumes or f"{mount.get('Source', '')}/".startswith(paths)
        for mount in container.raw["Mounts"]
    )
