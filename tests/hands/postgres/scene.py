"""One recovery as the tests walk it: the hands with their orders, a backup on the shelf, and a writer."""

import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from activities.engine import Engine, Job
from activities.postgres.fence import Fencing
from activities.postgres.follow import Following
from activities.postgres.last_wal import Draining
from activities.postgres.manifest import read_facts
from activities.postgres.promote import Promoting
from activities.postgres.receiver import Protection
from activities.postgres.release import Releasing
from activities.postgres.restore import Restoring
from activities.postgres.serve import Starting
from activities.postgres.sql import Sql
from activities.postgres.swap import Swapping
from activities.tokens import Tokens
from domain.backups import Backup, ReceiveOrder
from domain.exchange import SwapOrder, Swapped
from domain.names import LABEL_RECOVERY, LABEL_STACK, short_id, volume_name
from domain.order import Target, TargetOrder
from domain.recovery import (
    Copy,
    Fenced,
    FollowOrder,
    LastWal,
    LastWalOrder,
    Promoted,
    PromoteOrder,
    Restored,
    RestoreOrder,
    ServeOrder,
    Serving,
)
from tests.hands.images import lab_image
from tests.hands.postgres.conftest import Server


@dataclass
class Writer:
    """Commits one row after the other and remembers those that were acknowledged."""

    connect: Callable[[], psycopg.Connection[tuple[object, ...]]]
    acknowledged: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        try:
            with self.connect() as connection:
                while not self._ended.is_set():
                    number += 1
                    connection.execute(
                        "INSERT INTO messages (id, channel_id, author_id, body) VALUES (%s, 1, 1, 'written')",
                        [1_000_000 + number],
                    )
                    self.acknowledged.append(1_000_000 + number)
                    time.sleep(0.002)
        except psycopg.Error:
            return

    def wait_for(self, count: int) -> None:
        """Wait until that many rows were acknowledged."""
        deadline = time.monotonic() + 30
        while len(self.acknowledged) < count:
            assert time.monotonic() < deadline, "the writer does not get on"
            time.sleep(0.05)

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(10)


class Scene:
    """The hands of one recovery on one server."""

    def __init__(self, server: Server, sql: Sql, state: Path, tools: str) -> None:
        self.server = server
        self.state = state
        self.tools = tools
        self.target: Target = server.target
        self.rid = f"20261122T0500Z-{secrets.token_hex(4)}"
        self.engine = Engine(server.client)
        tokens = Tokens(state)
        self.protection = Protection(self.engine, sql, tokens, state)
        self.restoring = Restoring(self.engine, tokens, state)
        self.following = Following(self.engine, sql, tokens, state)
        self.fencing = Fencing(self.engine, sql, tokens, state)
        self.draining = Draining(self.engine, sql, tokens, state)
        self.promoting = Promoting(self.engine, sql, tokens, state)
        self.swapping = Swapping(self.engine, tokens, state, tools)
        self.starting = Starting(self.engine, sql, tokens, state)
        self.releasing = Releasing(self.engine, tokens, state)
        self.sql = sql
        self.writer = Writer(server.connect)
        self.slot = f"dr_recv_{short_id(self.rid)}"
        self.backup: Backup | None = None

    # -- before the trouble ---------------------------------------------------------------------

    def protect(self) -> None:
        """Have the receiver stream, and a base backup on the shelf."""
        self.protection.ensure_receiving(ReceiveOrder(target=self.target))
        self.backup = self.take_backup()

    def take_backup(self) -> Backup:
        server = self.target.postgres
        began = datetime.now(UTC)
        name = f"{began:%Y%m%dT%H%M%S.%fZ}-base"
        path = Path("postgres/base") / name / "data"
        line = (
            f"cd /shelf/base && mkdir {name} && exec pg_basebackup -h 127.0.0.1 -D {name}/data"
            " -U postgres -X stream -c fast --manifest-checksums=SHA256"
        )
        state, text, _ = self.engine.follow(
            Job(
                name=f"dr-{self.target.stack}-backup",
                image_id=server.image_id,
                entrypoint=("sh", "-c"),
                command=(line,),
                user=f"{server.uid}:{server.gid}",
                binds={f"{self.target.shelf}/postgres": "/shelf:rw"},
                environment={"PGPASSWORD": self.sql.password(self.target.project, server)},
                labels={LABEL_STACK: self.target.stack},
                network=f"container:{server.container_id}",
            ),
            lambda _: None,
            limit_seconds=60,
        )
        assert state.exit_code == 0, text
        self.engine.remove(f"dr-{self.target.stack}-backup")
        data = Path(self.target.shelf) / path
        label = (data / "backup_label").read_text()
        start = re.search(r"START WAL LOCATION: (\S+) \(file (\w+)\)", label)
        assert start is not None
        return Backup(
            id=name,
            path=str(path),
            started_at=began,
            ended_at=datetime.now(UTC),
            bytes=sum(file.stat().st_size for file in data.rglob("*") if file.is_file()),
            system_identifier=str(self.server.ask("SELECT system_identifier FROM pg_control_system()")),
            server_version=str(self.server.ask("SHOW server_version")),
            image_id=server.image_id,
            timeline=1,
            start_lsn=start[1],
            stop_lsn=read_facts(data).stop_lsn,
            start_segment=start[2],
        )

    def archive_all(self) -> None:
        """Have everything committed so far in closed segments of the archive."""
        self.server.archive_all()

    def received_all(self) -> None:
        """Wait until the receiver has written everything that is committed."""
        wanted = self.server.ask("SELECT pg_current_wal_lsn()")
        deadline = time.monotonic() + 20
        while not self.server.ask(
            f"SELECT bool_or(write_lsn >= '{wanted}') FROM pg_stat_replication"  # noqa: S608 - an LSN
        ):
            assert time.monotonic() < deadline, "the receiver does not get on"
            time.sleep(0.1)

    def kill_server(self) -> None:
        """End the server at once, as kill -9 does."""
        self.engine.set_restart(self.target.postgres.container_id, "no")
        self.engine.kill(self.target.postgres.container_id, "SIGKILL")
        self.writer.stop()

    def destroy_control_file(self) -> None:
        path = self.server.volume_path / "global" / "pg_control"
        path.write_bytes(secrets.token_bytes(path.stat().st_size))

    # -- the hands ------------------------------------------------------------------------------

    def order(self) -> TargetOrder:
        return TargetOrder(recovery_id=self.rid, target=self.target)

    def restore(self, attempt: int = 1) -> Restored:
        assert self.backup is not None
        return self.restoring.ensure_restored(
            RestoreOrder(recovery_id=self.rid, target=self.target, backup=self.backup, attempt=attempt)
        )

    def follow(self, attempt: int = 1) -> Copy:
        assert self.backup is not None
        return self.following.ensure_following(
            FollowOrder(
                recovery_id=self.rid,
                target=self.target,
                backup=self.backup,
                volume=volume_name(self.rid, "postgres", attempt),
                timeline=1,
            )
        )

    def fence(self) -> Fenced:
        return self.fencing.ensure_fenced(self.order())

    def drain(self, copy: Copy, *, answers: bool) -> LastWal:
        return self.draining.ensure_last_wal(
            LastWalOrder(recovery_id=self.rid, target=self.target, copy_=copy, answers=answers)
        )

    def promote_order(self, copy: Copy, last: LastWal) -> PromoteOrder:
        return PromoteOrder(
            recovery_id=self.rid,
            target=self.target,
            copy_=copy,
            expected_lsn=last.replayed_lsn,
            slot=self.slot,
        )

    def promote(self, copy: Copy, last: LastWal) -> Promoted:
        return self.promoting.ensure_promoted(self.promote_order(copy, last))

    def swap_order(self, volume: str) -> SwapOrder:
        return SwapOrder(recovery_id=self.rid, target=self.target, restored_volume=volume)

    def swap(self, volume: str) -> Swapped:
        return self.swapping.ensure_swapped_in(self.swap_order(volume))

    def serve(self, timeline: int = 2) -> Serving:
        return self.starting.ensure_serving(
            ServeOrder(recovery_id=self.rid, target=self.target, expected_timeline=timeline, slot=self.slot)
        )

    def to_promoted(self, *, answers: bool) -> tuple[Copy, Promoted]:
        """Walk from the restore to the stopped, promoted copy."""
        self.restore()
        copy = self.follow()
        self.fence()
        last = self.drain(copy, answers=answers)
        return copy, self.promote(copy, last)

    def missing(self) -> set[int]:
        """Return the acknowledged rows that the server does not have."""
        with self.server.connect() as connection:
            rows = connection.execute("SELECT id FROM messages WHERE id > 1000000").fetchall()
        return set(self.writer.acknowledged) - {row[0] for row in rows}

    def inode(self, volume: str) -> int:
        return (Path(self.engine.root()) / "volumes" / volume / "_data").stat().st_ino

    def clean(self) -> None:
        """Remove what the hands made; the server's fixture removes the rest."""
        self.writer.stop()
        for found in self.engine.labelled(f"{LABEL_RECOVERY}={self.rid}"):
            self.engine.remove(found.id, force=True)
        for volume in self.engine.volumes(f"{LABEL_RECOVERY}={self.rid}"):
            self.engine.remove_volume(volume["Name"])


@contextmanager
def recovery(server: Server, sql: Sql) -> Iterator[Scene]:
    """Give out a scene and remove what its hands made; its state path is short, for the socket."""
    with tempfile.TemporaryDirectory(prefix="dr-") as state:
        made = Scene(server, sql, Path(state), lab_image(server.client, "tools"))
        try:
            yield made
        finally:
            made.clean()
