"""What a recovery needs of the host itself."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities.audit import Audit
from activities.backup_keys import BackupKeys
from activities.clocks import Clocks, judge, of_temporal
from activities.engine import Engine, Job
from activities.ledger_watch import watching
from activities.leftovers import leftovers
from activities.postgres.one_shot import below
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.errors import DrError
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target, TargetOrder
from domain.recovery import Judged, Proof

_LONGEST_SOCKET_DIRECTORY = 90
_GROUP_OR_OTHERS = 0o027
_SPARE = 1.2


class Host:
    """Looks at disk, images, paths, owners and clocks; changes nothing."""

    def __init__(self, engine: Engine, state: Path, tools_image: str, clocks: Clocks | None = None) -> None:
        """``tools_image`` is the image that exchanges volumes."""
        self._engine = engine
        self._state = state
        self._tools_image = tools_image
        self._clocks = clocks or Clocks(engine, Sql(Secrets(engine)))

    @activity.defn(no_thread_cancel_exception=True)
    def observe_host(self, order: TargetOrder) -> Judged:
        """Return one proof for each thing that a recovery would miss."""
        temporal, target = of_temporal(), order.target
        proofs = (
            self._tools(),
            self._image(target),
            *_room(target),
            self._owner(target),
            _shelf(target),
            self._sockets(),
            judge(self._clocks.measure(target, *temporal)),
            self._leftovers(target),
            watching(self._state, target, datetime.now(UTC)),
            BackupKeys(self._state).proof(),
            *_decisions(self._state),
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

    def _owner(self, target: Target) -> Proof:
        """Compare the owner and the mode of the data with the user that the server's image knows."""
        name, server = "owner of the data", target.postgres
        path = Path(below(server, f"{server.volumes_root}/{server.volume}/_data"))
        try:
            found, user = path.stat(), self._user_of_image(target)
        except (OSError, DrError) as error:
            return Proof(name=name, passed=None, evidence=str(error)[:200])
        mode = found.st_mode & 0o777
        said = f"{path} belongs to {found.st_uid}:{found.st_gid}, mode {mode:04o}"
        if user is not None and found.st_uid != user:
            return Proof(name=name, passed=False, evidence=f"{said}; the server of its image is user {user}")
        if mode & _GROUP_OR_OTHERS:
            return Proof(name=name, passed=False, evidence=f"{said}; PostgreSQL refuses more than 0750")
        return Proof(name=name, passed=True, evidence=said)

    def _user_of_image(self, target: Target) -> int | None:
        """Return the number of the server's user (70 or 999), or ``None`` when the image knows no such."""
        server, question = target.postgres, ("id", "-u", "postgres")
        container = self._engine.look(server.container_id)
        if container is not None and container.running:
            answer = self._engine.run(container.id, question).output
        else:
            job = Job(
                name=f"dr-{target.stack}-user",
                image_id=server.image_id,
                entrypoint=question[:1],
                command=question[1:],
                labels={LABEL_STACK: target.stack, LABEL_ROLE: "user"},
            )
            try:
                _, answer, _ = self._engine.follow(job, lambda _: None, limit_seconds=30)
            finally:
                self._engine.remove(job.name, force=True)
        return int(answer) if answer.strip().isdigit() else None

    def _sockets(self) -> Proof:
        path = self._state / "sockets"
        length = len(str(path))
        return Proof(
            name="path of the sockets",
            passed=length <= _LONGEST_SOCKET_DIRECTORY,
            evidence=f"{path} has {length} characters, at most {_LONGEST_SOCKET_DIRECTORY} work",
        )

    def _leftovers(self, target: Target) -> Proof:
        """Name what recoveries left; what was kept aside on purpose may stay."""
        left = leftovers(self._engine, self._state, target)
        return Proof(
            name="leftovers of recoveries",
            passed=all(one.over for one in left),
            evidence=". ".join(one.sentence for one in left) or "none",
        )


def _decisions(state: Path) -> list[Proof]:
    """Say whether what was written down of decisions is whole; nothing while nothing was."""
    proof = Audit(state).proof()
    return [] if proof.passed is None else [proof]


def _room(target: Target) -> Sequence[Proof]:
    """Compare free room and free inodes with the data: a restored copy needs as much again."""
    name, root = "room for a restored copy", target.postgres.volumes_root
    try:
        free = os.statvfs(root)
        sizes = [
            entry.stat().st_size
            for entry in (Path(root) / target.postgres.volume / "_data").rglob("*")
            if entry.is_file() and not entry.is_symlink()
        ]
    except OSError as error:
        return (Proof(name=name, passed=None, evidence=f"{root}: {error.strerror}"),)
    if free.f_flag & os.ST_RDONLY:
        return (Proof(name=name, passed=False, evidence=f"{root} is on a read-only filesystem"),)
    available, used = free.f_bavail * free.f_frsize, sum(sizes)
    room = Proof(
        name=name,
        passed=available > used * _SPARE,
        evidence=f"{available / 2**30:.1f} GiB free, the data has {used / 2**30:.1f} GiB",
    )
    # Some filesystems make inodes as they are needed and state none.
    enough = free.f_files == 0 or free.f_favail > len(sizes) * _SPARE
    inodes = (
        f"{free.f_favail} inodes free, the data has {len(sizes)} files" if free.f_files else "not limited"
    )
    return (room, Proof(name="inodes for a restored copy", passed=enough, evidence=inodes))


def _shelf(target: Target) -> Proof:
    """Look whether backups and WAL can be written: mounted so, and owned by the server's user."""
    name, server = "shelf", target.postgres
    path = Path(target.shelf) / "postgres"
    try:
        read_only = bool(os.statvfs(target.shelf).f_flag & os.ST_RDONLY)
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        return Proof(name=name, passed=False, evidence=f"{path}: {error.strerror}; dr backup now makes it")
    said = f"{path} belongs to {found.st_uid}:{found.st_gid}, mode {found.st_mode & 0o777:04o}"
    if read_only:
        return Proof(name=name, passed=False, evidence=f"{target.shelf} is on a read-only filesystem")
    if found.st_uid != server.uid:
        return Proof(name=name, passed=False, evidence=f"{said}; the server's user is {server.uid}")
    if found.st_mode & 0o077 or found.st_mode & 0o700 != 0o700:  # noqa: PLR2004 - a mode
        return Proof(name=name, passed=False, evidence=f"{said}; it is to be 0700")
    return Proof(name=name, passed=True, evidence=said)
