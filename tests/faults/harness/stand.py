"""A stand whose worker is decorated, and what must be the same after every recovery on it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.temporal import server
from tests.e2e.stand import ROOT, Stand
from tests.e2e.witness import Host
from tests.faults.harness.plan import Effect, Folder, Plan

Content = dict[str, Counter[str]]
"""How often each row, by its digest, is in each table."""
WRITTEN_BY_CHECKS = {"public.nchat_attachments", "auth.refresh_tokens"}
"""Tables that get rows from the user's journey at the end of a recovery, and from the prober."""
TOUCHED_BY_CHECKS = {"auth.users", "public.nchat_channels"}
"""Tables of which the same two change rows: when somebody was seen, when something was written."""
A_MESSAGE_OF_A_CHECK = "recovery check "
SITE = Path(__file__).parents[1] / "site"


@dataclass(frozen=True)
class Ended:
    """A recovery that is over: its report, the host before and after, its effects, and what did not fire."""

    report: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    effects: list[Effect]
    unfired: list[Plan]


class FaultStand(Stand):
    """A lab with its orchestrator; faults strike the worker's own clients."""

    def __init__(self) -> None:
        """Choose names; nothing is started."""
        super().__init__()
        self.folder = Folder(self.state / "faults")
        self.host = Host(self.client, self.lab, self.name)
        self.sound: Content = {}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process, with the decoration of the worker."""
        shelf = self.state / "shelf"
        return super().environment | {
            "PYTHONPATH": f"{SITE}:{ROOT}",
            "FAULT_FOLDER": str(self.folder.path),
            "FAULT_ROOTS": f"{shelf}:{self.state}",
        }

    def content(self) -> Content:
        """Return the digests of the rows of every table, without what a recovery itself writes."""
        tables = self.sql(
            "SELECT format('%I.%I', n.nspname, c.relname)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'"
            " AND n.nspname NOT IN ('information_schema', 'dr') ORDER BY 1"
        )
        return {
            name: Counter(
                str(digest)
                for (digest,) in self.sql(
                    f"SELECT md5(t::text) FROM {name} t WHERE strpos(t::text, %s) = 0",  # noqa: S608 - a name of the catalogue
                    A_MESSAGE_OF_A_CHECK,
                )
            )
            for (name,) in tables
        }

    def artefacts(self) -> dict[str, Any]:
        """Return what a recovery leaves on the host, in numbers that must not depend on faults."""
        shelf = Path(self.target().shelf)
        return {
            "kept volumes": len(self.host.kept()),
            "containers": sorted(role for role in self.host.ours().values()),
            "leftovers": self.host.leftovers(),
            "base backups": len(self.backups()),
            "unfinished on the shelf": sorted(p.name for p in shelf.rglob("*.partial") if p.is_dir()),
            "sockets": sorted(p.name for p in (self.state / "sockets").glob("*")),
            "drafts": sorted(str(p) for p in self.state.rglob("*.draft")),
            "services": {name: facts[1] for name, facts in self.host.services().items()},
        }

    def disturbed_recovery(
        self, *plans: Plan, meanwhile: Callable[[], None] | None = None, away_seconds: float = 0.0
    ) -> Ended:
        """Damage the database, recover it under these faults, and return what became of it.

        ``meanwhile`` runs beside it, from its start on. A Temporal server that is killed stays
        away for ``away_seconds``.
        """
        if not self.dirty:
            self.sound = self.content()
            self.damage_pages()
        before = self.artefacts()
        self.folder.arm(*plans)
        with self._temporal_kept_up(away_seconds), ThreadPoolExecutor(1) as threads:
            run_id = self.recover()
            beside = threads.submit(meanwhile) if meanwhile is not None else None
            report = self.to_the_end(run_id)
            if beside is not None:
                beside.result()
        effects, unfired = self.folder.effects(), self.folder.unfired()
        return Ended(report, before, self.artefacts(), effects, unfired)

    @contextmanager
    def _temporal_kept_up(self, away_seconds: float) -> Iterator[None]:
        """Start the Temporal server again whenever it was killed, as a person or systemd does."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(0.2):
                endpoint = server.status(self.temporal)
                if endpoint is None:
                    over.wait(away_seconds)
                    endpoint = server.ensure_running(self.temporal)
                self.folder.note_victim("temporal", endpoint.pid)

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join(60)

    def pause_schedules(self) -> None:
        """Have nothing start by the clock: in the middle of a run it would be taken for a part of it."""
        why = ("--reason", "kill tests", "--by", "test")
        for stack in (self.name, self.foreign):
            assert self.dr("schedules", "pause", "--all", "--stack", stack, *why).code == 0

    def release(self, recovery_id: str) -> None:
        """Release what a recovery kept, so that the disk does not fill."""
        said = self.dr("release", recovery_id, "--yes")
        assert said.code == 0, said


def assert_fired(ended: Ended) -> None:
    """Assert that every fault fired; one that did not proves nothing."""
    assert not ended.unfired, "void, did not fire:\n" + "\n".join(map(str, ended.unfired))


def assert_undisturbed(stand: FaultStand, ended: Ended) -> None:
    """Assert the end of an undisturbed recovery: the same data, one of each artefact, nothing left over."""
    report, before, after = ended.report, ended.before, ended.after
    assert report["outcome"] == "recovered", report["rule"]
    content = stand.content()
    assert content.keys() == stand.sound.keys()
    lost = {table: (rows - content[table]).total() for table, rows in stand.sound.items()}
    new = {table: (rows - stand.sound[table]).total() for table, rows in content.items()}
    assert {table for table, count in lost.items() if count} <= TOUCHED_BY_CHECKS, lost
    assert {table for table, count in new.items() if count} <= TOUCHED_BY_CHECKS | WRITTEN_BY_CHECKS, new
    assert all(lost[table] == new[table] <= 3 for table in TOUCHED_BY_CHECKS), (lost, new)
    stand.sound = content
    assert after["kept volumes"] == before["kept volumes"] + 1, "exactly one volume is kept aside"
    assert after["base backups"] == before["base backups"] + 1, "exactly one base backup is taken"
    assert after["leftovers"] == [], after["leftovers"]
    for same in ("unfinished on the shelf", "sockets", "drafts", "services"):
        assert after[same] == before[same], (same, before[same], after[same])
    assert [line["verb"] for line in report["decisions"]] == ["approve"], "nobody but the approver was asked"
    assert all(check["passed"] is not False for check in report["checks"])
