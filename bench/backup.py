"""``python -m bench.backup``: what backups and their verification take, beside what cannot be beaten.

Each backup is the product's own workflow; the raw figure beside it is a plain command that does nothing
but move the same bytes. All of it is measured on one database, on one machine, in one run.
"""

import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from pydantic import BaseModel
from temporalio.client import Client

from bench.bare import base_to_disk, copy_and_start, restore_dump
from bench.far import Far, fill
from bench.figures import Findings, Table, deliver, met, options
from bench.machine import describe
from bench.place import say
from bench.plain import docker
from bench.stand import GB, Stand, stand
from domain.backups import Backup, spoken_bytes
from domain.dumps import DumpKind, RestoreProven
from domain.entries import Entry
from domain.errors import DrError
from domain.jobs import WORK, Job
from domain.offsite_copies import CopiedOffsite
from domain.store_backups import StoreBackups
from starter import orchestrator
from worker.settings import Settings
from workflows.backup import DumpRequest, ScheduledRequest, VerifyRequest
from workflows.offsite_copy import OffsiteRequest

BASE_TARGET, VERIFY_TARGET = 0.8, 2.0
_MEBI = 1 << 20
_NOWHERE = 'exec pg_basebackup -U "$1" -D - -Ft -X none -c fast >/dev/null'
R = TypeVar("R", bound=BaseModel)


@dataclass
class Taken:
    """One kind of backup: its bytes, its own seconds, and those of the plain command."""

    what: str
    raw: str = ""
    """What the plain command was."""
    bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    raw_seconds: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """Return its speed beside that of the plain command."""
        if not self.seconds or not self.raw_seconds:
            return None
        return statistics.median(self.raw_seconds) / statistics.median(self.seconds)


@dataclass
class Proven:
    """A verification: the gigabytes it proved, its seconds, and those of a raw restore of the same."""

    what: str
    raw: str
    bytes: int
    seconds: float
    raw_seconds: float | None


@dataclass
class Measured:
    """Everything of one run."""

    database_bytes: int = 0
    taken: list[Taken] = field(default_factory=list)
    proven: list[Proven] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class Bench:
    """The product's workflows on a stand, each with its plain command."""

    def __init__(self, on: Stand, far: Far, runs: int) -> None:
        """``runs`` is how often each is measured."""
        self._on = on
        self._far = far
        self._runs = runs
        self.measured = Measured(database_bytes=on.size_bytes())

    # -- PostgreSQL -------------------------------------------------------------------------------

    def base(self) -> None:
        """Measure base backups; by turns the plain command comes first."""
        taken = Taken("base backup, streamed to the shelf", "pg_basebackup to nowhere")
        beside = Taken("the same", "the same pg_basebackup to the same disk", seconds=taken.seconds)
        whole = Taken("the same with its verification", "cp -a of the backup, flushed")
        backup: Backup | None = None
        for number in range(self._runs):
            for product in (True, False) if number % 2 == 0 else (False, True):
                if product:
                    backup, seconds = self._timed("BaseBackup", ScheduledRequest(stack=self._on.name), Backup)
                    taken.seconds.append((backup.ended_at - backup.started_at).total_seconds())
                    whole.seconds.append(seconds)
                else:
                    taken.raw_seconds.append(self._raw_base())
                    beside.raw_seconds.append(base_to_disk(self._on))
                    say(f"  pg_basebackup to the disk: {beside.raw_seconds[-1]:.1f} s")
        assert backup is not None  # noqa: S101 - the command line asks for a run at least
        taken.bytes = beside.bytes = whole.bytes = backup.bytes
        whole.raw_seconds.append(self._copied(self._shelf / backup.path))
        self.measured.taken += [taken, beside, whole]
        raw = sum(copy_and_start(self._on, backup).values())
        _, seconds = self._verified(backup.id, restore=False)
        said = "bare copy, start, promote"
        self.measured.proven.append(Proven("base backup, manifest", said, backup.bytes, seconds, raw))

    def dump(self) -> None:
        """Measure the daily dump, and its proof by a restore."""
        raw = restore_dump(self._on)
        taken = Taken("daily dump with globals and digests", "pg_dump -Fc", raw_seconds=[raw["dump"]])
        request = DumpRequest(stack=self._on.name, kind=DumpKind.DAILY)
        entry, seconds = self._timed("Dump", request, Entry)
        taken.bytes, taken.seconds = entry.bytes, [seconds]
        self.measured.taken.append(taken)
        _, seconds = self._verified(entry.id, restore=True)
        size = self.measured.database_bytes
        self.measured.proven.append(
            Proven("daily dump, restored and compared", "pg_restore", size, seconds, raw["restore"])
        )

    # -- other stores -----------------------------------------------------------------------------

    def redis(self) -> None:
        """Measure Redis, where something backs it up."""
        name = WORK[Job.REDIS].workflow
        if not name:
            self.measured.left_out.append("Redis: nothing backs it up in this version")
            return
        made, seconds = self._timed(name, ScheduledRequest(stack=self._on.name), StoreBackups)
        size = sum(entry.bytes for entry in made.entries)
        copied = sum(self._copied(self._shelf / entry.path) for entry in made.entries)
        said = "Redis, RDB and append-only files, loaded once"
        self.measured.taken.append(Taken(said, "cp -a of both, flushed", size, [seconds], [copied]))

    def objects(self, wanted_bytes: int) -> None:
        """Measure the copy of the objects: all of them, then nothing new; and its proof."""
        live = self._far.live()
        fill(live, wanted_bytes)
        raw = self._far.copy_objects(live)
        request = ScheduledRequest(stack=self._on.name)
        _, seconds = self._timed("ObjectsBackup", request, StoreBackups)
        made, again = self._timed("ObjectsBackup", request, StoreBackups)
        size, plain = self._contents_bytes(), "get and put of each"
        self.measured.taken += [
            Taken("objects to the second store, all of them", plain, size, [seconds], [raw]),
            Taken("the same again, nothing new", seconds=[again]),
        ]
        _, seconds = self._verified(made.entries[0].id, restore=True)
        self.measured.proven.append(Proven("objects, restored and compared", plain, size, seconds, raw))

    def offsite(self) -> None:
        """Measure the sealed copy off-site of all that lies on the shelf now."""
        copied, seconds = self._timed("OffsiteCopy", OffsiteRequest(stack=self._on.name), CopiedOffsite)
        files = [path for path in self._shelf.rglob("*") if path.is_file() and not path.is_symlink()]
        raw = self._far.put_files(files, "shelf")
        self.measured.taken.append(
            Taken("off-site copy, sealed and proven", "put of each file", copied.bytes, [seconds], [raw])
        )

    # -- how --------------------------------------------------------------------------------------

    @property
    def _shelf(self) -> Path:
        return Path(self._on.facts().target.shelf)

    def _contents_bytes(self) -> int:
        prefix = f"{self._on.name}/objects/"
        pages = self._far.client.get_paginator("list_objects_v2").paginate(Bucket="objects", Prefix=prefix)
        return sum(int(one["Size"]) for page in pages for one in page.get("Contents") or [])

    def _timed(self, workflow: str, request: BaseModel, result: type[R]) -> tuple[R, float]:
        async def work(client: Client, settings: Settings) -> R:
            return await orchestrator.execute(client, settings, workflow, request, result)

        began = time.monotonic()
        made = orchestrator.run(work)
        seconds = time.monotonic() - began
        say(f"  {workflow}: {seconds:.1f} s")
        return made, seconds

    def _verified(self, entry_id: str, *, restore: bool) -> tuple[RestoreProven, float]:
        request = VerifyRequest(stack=self._on.name, backup_id=entry_id, restore=restore)
        found, seconds = self._timed("VerifyBackup", request, RestoreProven)
        if not found.passed:
            self.measured.left_out.append(f"not verified: {found.sentence}")
        return found, seconds

    def _raw_base(self) -> float:
        server = self._on.facts().target.postgres
        began = time.monotonic()
        docker("exec", server.container_name, "sh", "-c", _NOWHERE, "dr", server.user)
        seconds = time.monotonic() - began
        say(f"  pg_basebackup to nowhere: {seconds:.1f} s")
        return seconds

    def _copied(self, directory: Path) -> float:
        scratch = self._on.settings.state / "scratch"
        began = time.monotonic()
        subprocess.run(["cp", "-a", str(directory), str(scratch)], check=True)
        subprocess.run(["sync", "-f", str(scratch)], check=True)
        seconds = time.monotonic() - began
        rmtree(scratch)
        return seconds


def measure(size_gb: float, objects_mb: int, runs: int) -> Findings:
    """Measure each kind of backup, one after the other."""
    with stand("demo" if size_gb >= 1 else "small") as on:
        found = Findings("backup", describe(on.settings.state, on.version()))
        say("growing")
        on.grow(int(size_gb * GB))
        far = Far(on)
        on.start_orchestrator()
        bench = Bench(on, far, runs)
        objects = partial(bench.objects, objects_mb * _MEBI)
        for work in (bench.base, bench.dump, bench.redis, objects, bench.offsite):
            try:
                work()
            except DrError as error:
                bench.measured.left_out.append(str(error))
                say(f"  left out: {error}")
    tell(found, bench.measured)
    return found


# -- what is told ---------------------------------------------------------------------------------


def tell(found: Findings, measured: Measured) -> None:
    """Make the tables."""
    size = spoken_bytes(measured.database_bytes)
    left = f" Left out: {'; '.join(measured.left_out)}." if measured.left_out else ""
    rows = tuple(_taken(one) for one in measured.taken)
    head = ("backup", "size", "seconds", "MB/s", "plain command", "seconds", "speed beside it", "target", "")
    note = f"A database of {size}; medians where something ran more than once.{left}"
    found.tables.append(Table("Taking backups", head, rows, note))
    head = ("verification", "size", "seconds", "s per GB", "raw restore", "seconds", "times it", "target", "")
    proven = tuple(_proven(one) for one in measured.proven)
    found.tables.append(Table("Verifying them", head, proven))
    found.data |= asdict(measured)


def _taken(one: Taken) -> tuple[str, ...]:
    seconds = statistics.median(one.seconds)
    speed = f"{one.bytes / seconds / 1e6:,.0f}" if one.bytes and seconds else ""
    raw = f"{statistics.median(one.raw_seconds):.1f}" if one.raw_seconds else ""
    ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
    judged = ("", "")
    if one.raw == "pg_basebackup to nowhere" and one.ratio is not None:
        judged = (f"at least {BASE_TARGET:g}", met(one.ratio, BASE_TARGET, at_least=True))
    size = spoken_bytes(one.bytes) if one.bytes else ""
    return (one.what, size, f"{seconds:.1f}", speed, one.raw, raw, ratio, *judged)


def _proven(one: Proven) -> tuple[str, ...]:
    per_gb = f"{one.seconds / (one.bytes / GB):.1f}" if one.bytes else ""
    shown = (one.what, spoken_bytes(one.bytes), f"{one.seconds:.1f}", per_gb, one.raw)
    if not one.raw_seconds:
        return (*shown, "not measured", "", "", "")
    times = one.seconds / one.raw_seconds
    judged = (f"at most {VERIFY_TARGET:g}", met(times, VERIFY_TARGET))
    return (*shown, f"{one.raw_seconds:.1f}", f"{times:.2f}", *judged)


def main() -> int:
    """Measure and print; 0 unless something could not be measured at all."""
    parser = options("backup", (__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=float, default=3.0, help="size of the database in GB")
    parser.add_argument("--objects", type=int, default=1024, help="MiB of objects besides the lab's own")
    parser.add_argument("--runs", type=int, default=3, help="base backups, and their plain commands")
    asked = parser.parse_args()
    deliver(measure(asked.size, asked.objects, max(1, asked.runs)), asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
