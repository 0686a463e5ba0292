"""What a recovery needs of the host itself."""

import os
from pathlib import Path

from temporalio import activity

from activities.engine import Engine
from domain.names import LABEL_MADE_BY
from domain.order import Target, TargetOrder
from domain.recovery import Judged, Proof

_LONGEST_SOCKET_DIRECTORY = 90


class Host:
    """Looks at disk, images and paths; changes nothing."""

    def __init__(self, engine: Engine, state: Path, tools_image: str) -> None:
        """``tools_image`` is the image that exchanges volumes."""
        self._engine = engine
        self._state = state
        self._tools_image = tools_image

    @activity.defn(no_thread_cancel_exception=True)
    def observe_host(self, order: TargetOrder) -> Judged:
        """Return one proof for each thing that a recovery would miss."""
        proofs = (
            self._tools(),
            self._image(order.target),
            _room(order.target),
            self._sockets(),
            self._leftovers(order.target),
        )
        failed = [proof.name for proof in proofs if proof.passed is not True]
        sentence = f"missing: {', '.join(failed)}" if failed else "the host has what a recovery needs"
        return Judged(sentence=sentence, passed=not failed, proofs=proofs)

    def _tools(self) -> Proof:
        found = self._engine.image(self._tools_image) if self._tools_image else None
        evidence = f"{self._tools_image}: {'present' if found else 'missing; dr up --lab builds it'}"
        return Proof(name="tools image", passed=found is not None, evidence=evidence)

    def _image(self, target: Target) -> Proof:
        found = self._engine.image(target.postgres.image_id)
        return Proof(
            name="image of the database server",
            passed=found is not None,
            evidence=f"{target.postgres.image_id[:19]} {'is local' if found else 'is not on this host'}",
        )

    def _sockets(self) -> Proof:
        path = self._state / "sockets"
        length = len(str(path))
        return Proof(
            name="path of the sockets",
            passed=length <= _LONGEST_SOCKET_DIRECTORY,
            evidence=f"{path} has {length} characters, at most {_LONGEST_SOCKET_DIRECTORY} work",
        )

    def _leftovers(self, target: Target) -> Proof:
        """Name containers of recoveries whose run is over: swap, copy, restore; keepers may stay."""
        left = [
            container.name
            for container in self._engine.labelled(f"{LABEL_MADE_BY}=dr", f"dr.stack={target.stack}")
            if "dr.recovery" in container.labels and container.labels.get("dr.role") != "keeper"
        ]
        return Proof(
            name="leftovers of recoveries",
            passed=not left,
            evidence=", ".join(left) if left else "none",
        )


def _room(target: Target) -> Proof:
    """Compare the free room with the size of the data: a restored copy needs as much again."""
    root = target.postgres.volumes_root
    try:
        free = os.statvfs(root)
        used = sum(
            entry.stat().st_size
            for entry in (Path(root) / target.postgres.volume / "_data").rglob("*")
            if entry.is_file() and not entry.is_symlink()
        )
    except OSError as error:
        return Proof(name="room for a restored copy", passed=None, evidence=f"{root}: {error.strerror}")
    available = free.f_bavail * free.f_frsize
    return Proof(
        name="room for a restored copy",
        passed=available > used * 1.2,
        evidence=f"{available / 2**30:.1f} GiB free, the data has {used / 2**30:.1f} GiB",
    )
