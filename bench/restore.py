"""``python -m bench.restore``: how long a whole recovery takes, beside what cannot be beaten.

For each size: the product's recovery (declared until verified from the user's side, its gate approved at
once), the same work as a plain script, a bare copy with a bare start; a restore of the daily dump, once.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree

from activities.catalogue import list_backups
from bench.bare import copy_and_start, restore_dump
from bench.figures import Findings, Table, deliver, met, options
from bench.machine import describe
from bench.place import say
from bench.plain import Plain
from bench.stand import GB, Stand, stand
from domain.backups import Backup
from domain.report import Report
from infra.lab.damage import damage_pages, destroy_control_file

WAL_BYTES = 256 << 20
"""Written between the backup and the damage, so that there is something to replay."""
FACTOR, GRACE_SECONDS = 1.25, 10.0
DOWNTIME_TARGET_SECONDS = 15.0
_SHOWN_FROM_SECONDS = 0.5


@dataclass
class Size:
    """What was measured on a database of one size; times in seconds."""

    asked_gb: float
    database_bytes: int = 0
    backup_bytes: int = 0
    whole: list[float] = field(default_factory=list)
    """Declared until verified from the user's side, people's waiting included."""
    downtime: list[float | None] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    dead_whole: float | None = None
    dead_downtime: float | None = None
    plain: list[float] = field(default_factory=list)
    plain_steps: list[dict[str, float]] = field(default_factory=list)
    bare: dict[str, float] = field(default_factory=dict)
    dump: dict[str, float] = field(default_factory=dict)

    @property
    def limit_seconds(self) -> float:
        """The most that a whole recovery may take beside the plain script."""
        return FACTOR * statistics.median(self.plain) + GRACE_SECONDS


def measure(sizes: Sequence[float], runs: int) -> tuple[Findings, list[Size]]:
    """Measure each size on a stand of its own."""
    found: Findings | None = None
    measured: list[Size] = []
    for asked in sizes:
        say(f"{asked:g} GB: a lab of its own")
        with stand("demo" if asked >= 1 else "small") as on:
            if found is None:
                found = Findings("restore", describe(on.settings.state, on.version()))
            measured.append(measure_size(on, Size(asked), runs, dump=not measured))
    assert found is not None  # noqa: S101 - the command line asks for a size at least
    return found, measured


def measure_size(on: Stand, size: Size, runs: int, *, dump: bool) -> Size:
    """Measure everything on one database."""
    say("  growing")
    on.grow(int(size.asked_gb * GB))
    size.database_bytes = on.size_bytes()
    if dump:
        size.dump = restore_dump(on)
        say(f"  restore of the daily dump: {size.dump['restore']:.1f} s")
    on.start_orchestrator()
    on.start_ledger()
    backup = _protect(on)
    size.backup_bytes = backup.bytes
    size.bare = copy_and_start(on, backup)
    say(f"  bare copy and start: {sum(size.bare.values()):.1f} s")
    for number in range(runs):
        # By turns the one or the other comes first, so that none always finds the warmer machine.
        for work in (_by_product, _by_hand) if number % 2 == 0 else (_by_hand, _by_product):
            say(f"  {damage_pages(on.settings, on.name)}")
            work(on, size, _newest(on))
    say(f"  {destroy_control_file(on.settings, on.name).sentence}")
    report, _ = on.recover()
    size.dead_whole, size.dead_downtime = report.rto_seconds, report.downtime_seconds
    say(f"  dead server: {size.dead_whole:.1f} s, downtime {size.dead_downtime or 0:.1f} s")
    return size


def _protect(on: Stand) -> Backup:
    """Take a base backup, drop the older ones, and write what a recovery will have to replay."""
    on.protect()
    return _keep_newest(on)


def _keep_newest(on: Stand) -> Backup:
    newest = _newest(on)
    base = Path(on.facts().target.shelf) / "postgres" / "base"
    for folder in base.iterdir():
        if folder.name != newest.id:
            rmtree(folder)
    on.write(WAL_BYTES)
    return newest


def _newest(on: Stand) -> Backup:
    return list_backups(Path(on.facts().target.shelf))[0]


def _by_product(on: Stand, size: Size, _: Backup) -> None:
    report, events = on.recover()
    size.whole.append(report.rto_seconds or 0.0)
    size.downtime.append(report.downtime_seconds)
    size.events.append(events)
    size.steps.append(_seconds_of(report))
    say(f"  recovery: {size.whole[-1]:.1f} s, downtime {report.downtime_seconds or 0:.1f} s")
    on.release(report.recovery_id)
    _keep_newest(on)


def _by_hand(on: Stand, size: Size, backup: Backup) -> None:
    plain = Plain(on, backup)
    size.plain.append(plain.recover())
    size.plain_steps.append(dict(plain.took))
    say(f"  plain script: {size.plain[-1]:.1f} s")
    plain.clean()
    _protect(on)


def _seconds_of(report: Report) -> dict[str, float]:
    """Return the time of each step until the users were served, in order."""
    verified = next(mark.at for mark in report.marks if mark.name == "verified")
    return {step.title: step.seconds or 0.0 for step in report.steps if step.started_at < verified}


# -- what is told ---------------------------------------------------------------------------------


def tell(found: Findings, sizes: Sequence[Size]) -> None:
    """Make the tables of all sizes."""
    found.tables += [_whole(sizes), _downtime(sizes), _steps(sizes), _plain(sizes)]
    if sizes[0].dump:
        found.tables.append(_dump(sizes))
    found.data["sizes"] = [asdict(size) for size in sizes]


def _head(sizes: Sequence[Size]) -> tuple[str, ...]:
    return ("", *(f"{size.database_bytes / GB:.1f} GB" for size in sizes))


def _row(what: str, values: Sequence[float | None], form: str = "{:.1f} s") -> tuple[str, ...]:
    return (what, *("not measured" if value is None else form.format(value) for value in values))


def _whole(sizes: Sequence[Size]) -> Table:
    whole = [statistics.median(size.whole) for size in sizes]
    rows = (
        _row("whole recovery", whole),
        _row("plain script, same copy, replay and checks", [statistics.median(s.plain) for s in sizes]),
        _row("whole recovery / plain script",
             [a / statistics.median(s.plain) for a, s in zip(whole, sizes, strict=True)], "{:.2f}"),
        _row(f"target: at most {FACTOR:g} x plain script + {GRACE_SECONDS:.0f} s",
             [size.limit_seconds for size in sizes]),
        ("", *(met(a, s.limit_seconds) for a, s in zip(whole, sizes, strict=True))),
        _row("bare copy of the base backup", [size.bare["copy"] for size in sizes]),
        _row("bare start, replay, promote", [size.bare["start and replay"] for size in sizes]),
        _row("events in the history", [max(size.events) for size in sizes], "{:.0f}"),
    )  # fmt: skip
    note = (
        f"Declared until verified from the user's side, the gate approved at once; medians of"
        f" {len(sizes[0].whole)} run(s); {WAL_BYTES >> 20} MiB of WAL since the backup."
    )
    return Table("A whole recovery beside the same work by hand", _head(sizes), rows, note)


def _downtime(sizes: Sequence[Size]) -> Table:
    living = [max((d for d in size.downtime if d is not None), default=None) for size in sizes]
    rows = (
        _row("a damaged server that still answers, worst", living),
        (f"target: at most {DOWNTIME_TARGET_SECONDS:.0f} s",
         *("not measured" if d is None else met(d, DOWNTIME_TARGET_SECONDS) for d in living)),
        _row("a server whose control file is destroyed", [size.dead_downtime for size in sizes]),
        _row("its whole recovery", [size.dead_whole for size in sizes]),
    )  # fmt: skip
    note = (
        "The longest time between declared and verified without an acknowledged user action, ten actions"
        " a second. A dead server is down from the start."
    )
    return Table("How long users wait", _head(sizes), rows, note)


def _steps(sizes: Sequence[Size]) -> Table:
    middle = [_medians(size.steps) for size in sizes]
    shown = [title for title in middle[0] if any(one.get(title, 0) >= _SHOWN_FROM_SECONDS for one in middle)]
    rest = [sum(s for title, s in one.items() if title not in shown) for one in middle]
    rows = [_row(title, [one.get(title) for one in middle]) for title in shown]
    rows.append(_row(f"{len(middle[0]) - len(shown)} shorter steps together", rest))
    return Table("Where the time goes until users are served, by step", _head(sizes), tuple(rows))


def _plain(sizes: Sequence[Size]) -> Table:
    middle = [_medians(size.plain_steps) for size in sizes]
    rows = tuple(_row(title, [one[title] for one in middle]) for title in middle[0])
    return Table("The same in the plain script", _head(sizes), rows)


def _dump(sizes: Sequence[Size]) -> Table:
    first = sizes[0]
    factors = [size.database_bytes / first.database_bytes for size in sizes]
    rows = (
        _row("pg_dump -Fc", [first.dump["dump"] * factor for factor in factors]),
        _row("pg_restore", [first.dump["restore"] * factor for factor in factors]),
    )
    note = (
        "Measured once, on the first size, and extrapolated in proportion to the others. What was written"
        f" since the dump is lost; the dump has {first.dump['bytes'] / 1e6:,.0f} MB."
    )
    return Table("A restore of the daily dump, as the runbook did it before", _head(sizes), rows, note)


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {title: statistics.median(run.get(title, 0.0) for run in runs) for title in runs[0]}


def main() -> int:
    """Measure and print; 0 unless something could not be measured at all."""
    parser = options("restore", (__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1,3,6", help="sizes of the database in GB, by commas")
    parser.add_argument("--runs", type=int, default=1, help="recoveries of each kind and size")
    asked = parser.parse_args()
    found, sizes = measure([float(part) for part in asked.sizes.split(",")], asked.runs)
    tell(found, sizes)
    deliver(found, asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
