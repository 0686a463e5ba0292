"""Removes what a recovery kept aside, and what a failed attempt left; only by the recovery's own label."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from temporalio import activity

from activities import volume_exchange
from activities.engine import ContainerState, Engine
from activities.postgres import swap
from activities.records import Records
from activities.tokens import Tokens
from domain.backups import spoken_bytes
from domain.errors import Refused
from domain.names import LABEL_RECOVERY, LABEL_ROLE, container_name, short_id
from domain.release import DiscardOrder, Released, ReleaseOrder

KIND = "released"
_KEEPER = "keeper"


class Releasing:
    """The only place where a recovery's volumes are removed."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path, proc: Path = Path("/proc")) -> None:
        """Act through these clients; ``state`` is DR_STATE, ``proc`` the host's process table."""
        self._engine = engine
        self._tokens = tokens
        self._state = state.resolve()
        self._records = Records(state)
        self._proc = proc

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_released(self, order: ReleaseOrder) -> Released:
        """Remove the kept volume of a recovery with its keeper.

        Raises ``Refused`` when any of its volumes is in use, by Docker's word or by the mounts of a
        running process; then nothing was removed.
        """
        self._tokens.admit(order, f"release-{order.release_of}")
        volumes = self._volumes(order.release_of)
        record = self._records.read(KIND, order.release_of)
        if record is None:
            record = {"volumes": volumes, "bytes": self._kept_bytes(order.release_of)}
        for name in volumes:
            self._may_remove(name, order.release_of)
        self._records.write(KIND, order.release_of, record)
        for job in self._containers(order.release_of):
            self._engine.remove(job.id, force=True)
        for name in volumes:
            self._engine.remove_volume(name)
        names = tuple(record["volumes"])
        return Released(
            volumes=names,
            bytes=int(record["bytes"]),
            sentence=f"Released {', '.join(names)} ({spoken_bytes(int(record['bytes']))})",
        )

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_discarded(self, order: DiscardOrder) -> Released:
        """Remove the copy of a failed or aborted attempt with its volume, never the kept one.

        An empty ``volume`` means all restored volumes of the recovery.
        """
        self._tokens.admit(order, order.target.stack)
        rid = order.recovery_id
        kept = self._kept(rid)
        volumes = [name for name in self._volumes(rid) if name not in kept and order.volume in {"", name}]
        for name in volumes:
            self._may_remove(name, rid, jobs_may_run=True)
        doomed = [job for job in self._containers(rid) if _mounts(job, volumes)]
        for job in doomed:
            self._engine.remove(job.id, force=True)
        for name in volumes:
            self._may_remove(name, rid)
            self._engine.remove_volume(name)
        if not order.volume:
            shutil.rmtree(self._state / "sockets" / short_id(rid), ignore_errors=True)
        return Released(
            volumes=tuple(volumes),
            sentence=f"Discarded {', '.join(volumes)}" if volumes else "There was nothing to discard",
        )

    def _kept_bytes(self, recovery_id: str) -> int:
        """Return what the swap measured; ``Refused`` before it: the volume holds the restored data then."""
        swapped = self._records.read(swap.KIND, recovery_id)
        if not self._keepers(recovery_id) or (swapped is not None and "kept_bytes" not in swapped):
            raise Refused(
                "this recovery kept nothing aside",
                where=recovery_id,
                hint="what a failed attempt left is discarded, not released",
                code="nothing-kept",
            )
        return int((swapped or {}).get("kept_bytes", 0)) + self._kept_by_others(recovery_id)

    def _kept_by_others(self, recovery_id: str) -> int:
        """Return what the exchanges of the other stores measured, each of which has a keeper of its own."""
        mine = container_name(recovery_id, "")
        services = [one.name.removeprefix(mine) for one in self._keepers(recovery_id)]
        named = (name.removesuffix(f"-{_KEEPER}") for name in services if name != _KEEPER)
        records = (self._records.read(volume_exchange.KIND, f"{recovery_id}-{name}") for name in named)
        return sum(int((record or {}).get("kept_bytes", 0)) for record in records)

    def _keepers(self, recovery_id: str) -> list[ContainerState]:
        return [job for job in self._containers(recovery_id) if job.labels.get(LABEL_ROLE) == _KEEPER]

    def _kept(self, recovery_id: str) -> set[str]:
        """Return the volumes that an exchange took or may have taken: they hold somebody's old data."""
        record = self._records.read(swap.KIND, recovery_id)
        keepers = self._keepers(recovery_id)
        # Of another store: it makes its keeper right before its exchange, and the keeper alone tells.
        others = [one for one in keepers if one.name != container_name(recovery_id, _KEEPER)]
        kept = {str(mount.get("Name")) for one in others for mount in one.raw["Mounts"]}
        return kept | {str(record["restored_volume"])} if record and keepers else kept

    def _containers(self, recovery_id: str) -> list[ContainerState]:
        """Return the recovery's own containers: a label alone anybody may have written on his own."""
        found = self._engine.labelled(f"{LABEL_RECOVERY}={recovery_id}")
        return [one for one in found if one.name.startswith(container_name(recovery_id, ""))]

    def _volumes(self, recovery_id: str) -> list[str]:
        if not recovery_id:
            raise Refused("no recovery is named", code="nothing-kept")
        named = (str(found["Name"]) for found in self._engine.volumes(f"{LABEL_RECOVERY}={recovery_id}"))
        return sorted(name for name in named if name.startswith(container_name(recovery_id, "")))

    def _may_remove(self, volume: str, recovery_id: str, *, jobs_may_run: bool = False) -> None:
        """Refuse a volume that any other container names, or that any process has mounted.

        Docker's own word is not enough: a running container keeps the directory that it opened, also
        when that directory became another volume's by an exchange.
        """
        for other in self._engine.labelled():
            ours = other.labels.get(LABEL_RECOVERY) == recovery_id
            if _mounts(other, [volume]) and (not ours or (other.running and not jobs_may_run)):
                raise Refused(
                    f"the volume {volume} is in use by the container {other.name}",
                    where=recovery_id,
                    hint="a volume in use is live; it is not released",
                    code="volume-live",
                )
        if jobs_may_run:
            return
        for pid in self._mounted_by(volume):
            raise Refused(
                f"process {pid} has the directory of {volume} mounted",
                where=recovery_id,
                hint="its container was started before the exchange; restart it first",
                code="volume-live",
            )

    def _mounted_by(self, volume: str) -> Iterator[str]:
        """Yield the processes in whose mounts the volume's directory is, under whatever path."""
        directory = f"/volumes/{volume}/_data"
        for path in self._proc.glob("[0-9]*/mountinfo"):
            try:
                lines = path.read_text().splitlines()
            except PermissionError as error:
                raise Refused(
                    "the mounts of other processes cannot be seen",
                    where=str(path),
                    hint="run the host's worker as root",
                    code="mounts-unseen",
                ) from error
            except OSError:
                continue  # the process ended meanwhile
            if any(f"{line.split()[3]}/".endswith(f"{directory}/") for line in lines if line):
                yield path.parent.name


def _mounts(container: ContainerState, volumes: list[str]) -> bool:
    mounts: list[dict[str, Any]] = container.raw["Mounts"]
    return any(mount.get("Name") in volumes for mount in mounts)
