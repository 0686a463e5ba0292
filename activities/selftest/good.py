"""What is known to be good: backups of the stage by the product's hands, and copies of real ones."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg

from activities import entries, plain_files, stored
from activities.catalogue import find_backup
from activities.offsite_progress import Progress
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.receiver import Protection
from activities.postgres.shelf import WAL
from activities.pulse import beat
from activities.room import free_bytes
from activities.selftest.stage import Stage
from activities.tokens import Tokens
from domain.backups import Backup, BackupOrder, ReceiveOrder, spoken_bytes
from domain.dumps import DumpKind, DumpOrder
from domain.entries import BASE, Entry
from domain.errors import DrError, Refused, Unavailable
from domain.order import Target, TargetOrder
from domain.wal import parse_lsn, segment_name

_SPARE = 1.2
_PAUSE_SECONDS = 0.05
_ARCHIVE_SECONDS = 30.0
_POLL_SECONDS = 0.1
_SWITCHES = 4


@dataclass(frozen=True)
class Good:
    """Backups that nobody has touched."""

    target: Target
    """The stage."""
    dump: Entry
    plain: Entry
    """A dump that is not compressed."""
    base: Backup
    """Taken while the WAL was switched."""
    wal: Path
    """The receiver's directory; nothing writes to it any more."""
    real_target: Target
    """The stage's server with a shelf of copies of the stack's own backups."""
    real_dump: Entry | None
    real_base: Backup | None
    source: str
    """What was copied, for people."""


def made(stage: Stage) -> Good:
    """Back up the stage as any stack is backed up, and copy the newest real backups.

    Raises ``Refused`` (``backup-missing``) when the stack has none: then nothing shows that it can be
    backed up at all.
    """
    known = newest_of(Path(stage.real.shelf))
    target, tokens = stage.target(), Tokens(stage.state)
    parts = (stage.engine, stage.sql, tokens, stage.state)
    protection, dumps = Protection(*parts), Dumps(*parts)
    protection.ensure_protected(TargetOrder(target=target))
    protection.ensure_receiving(ReceiveOrder(target=target))
    dump = dumps.ensure_dump(DumpOrder(target=target, label="selftest"))
    weekly = DumpOrder(target=target, label="selftest", kind=DumpKind.WEEKLY, compressed=False)
    plain = dumps.ensure_dump(weekly)
    with _switching(stage):
        base = Backups(*parts).ensure_base_backup(BackupOrder(target=target, label="selftest"))
    slot = protection.observe_receiver(TargetOrder(target=target)).directory
    _archive_on(stage, base)
    stage.engine.remove(f"dr-{stage.stack}-receiver", force=True)
    copies = target.model_copy(update={"shelf": str(stage.state / "copies")})
    real_dump, real_base, said = _copied(stage, known, Path(copies.shelf))
    return Good(
        target=target,
        dump=entries.find_entry(stage.shelf, dump.id),
        plain=entries.find_entry(stage.shelf, plain.id),
        base=base,
        wal=stage.shelf / WAL / Path(slot).name,
        real_target=copies,
        real_dump=real_dump,
        real_base=real_base,
        source=said,
    )


def newest_of(shelf: Path) -> list[Entry]:
    """Return the newest dump and the newest base backup of a shelf; ``Refused`` when it has neither."""
    known = [entry for entry in entries.read_entries(shelf)[0] if entry.store == "postgres"]
    dumps = [entry for entry in known if entry.kind != BASE][:1]
    bases = [entry for entry in known if entry.kind == BASE][:1]
    if not dumps and not bases:
        raise Refused(
            "there is no backup of the database whose copy could be damaged",
            where=str(shelf),
            hint="take one: dr backup now, or dr backup now daily",
            code="backup-missing",
        )
    return [*dumps, *bases]


@contextmanager
def _switching(stage: Stage) -> Iterator[None]:
    """Have the server go from one segment to the next all the time."""
    over = threading.Event()

    def switch() -> None:
        while not over.wait(_PAUSE_SECONDS):
            try:
                stage.do("SELECT pg_logical_emit_message(true, 'dr', 'selftest')", "SELECT pg_switch_wal()")
            except (DrError, psycopg.Error):
                return

    thread = threading.Thread(target=switch, daemon=True, name="switching the WAL of the stage")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _archive_on(stage: Stage, base: Backup) -> None:
    """Write on behind the backup, and wait until the archive has it in closed segments."""
    last = ""
    for number in range(_SWITCHES):
        stage.do(f"INSERT INTO dr.marker (n) VALUES ({number + 1})")  # noqa: S608 - a number
        last = stage.ask("SELECT pg_switch_wal()::text")
    name = segment_name(base.timeline, parse_lsn(last) - 1, base.wal_segment_bytes)
    deadline = time.monotonic() + _ARCHIVE_SECONDS
    while not any((stage.shelf / WAL).glob(f"*/{name}")):
        if time.monotonic() > deadline:
            raise Unavailable("the stage's WAL did not reach its archive", where=name, code="receiver-silent")
        beat(f"waiting for {name} in the archive of the stage")
        time.sleep(_POLL_SECONDS)


def _copied(stage: Stage, known: list[Entry], shelf: Path) -> tuple[Entry | None, Backup | None, str]:
    """Copy real backups where there is room; the shelf that they lie on is only read."""
    dump: Entry | None = None
    base: Backup | None = None
    said = []
    plain_files.own(shelf, os.geteuid(), os.getegid())
    for entry in known:
        if free_bytes(stage.state) < entry.bytes * _SPARE:
            said.append(f"no room to copy {entry.id} ({spoken_bytes(entry.bytes)})")
            continue
        source = entries.directory_of(Path(stage.real.shelf), entry)
        strange = plain_files.strange_in(source)
        if strange:
            raise Refused(f"{entry.id} holds {strange}", where=str(source), code="shelf-unusable")
        target = entries.directory_of(shelf, entry)
        target.parent.mkdir(parents=True, exist_ok=True)
        progress = Progress(f"copying {entry.id}", entry.bytes)
        shutil.copytree(source, target, symlinks=True, copy_function=partial(_copied_file, progress))
        said.append(f"a copy of {entry.id}")
        if entry.kind == BASE:
            base = find_backup(shelf, entry.id)
        else:
            dump = entries.find_entry(shelf, entry.id)
    _give(shelf, stage.real.postgres.uid, stage.real.postgres.gid)
    return dump, base, ", ".join(said)


def _copied_file(progress: Progress, source: str, target: str) -> None:
    """Copy one file in pieces, for it may be as large as a database."""
    with Path(target).open("xb") as file:
        for piece in stored.chunks(Path(source), lambda _: beat(progress.sentence())):
            file.write(piece)
            progress.add(len(piece))
    shutil.copystat(source, target)


def _give(root: Path, uid: int, gid: int) -> None:
    """Let the server's user own a tree of ours, in which there are no links."""
    os.chown(root, uid, gid)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            os.chown(Path(folder, name), uid, gid, follow_symlinks=False)
