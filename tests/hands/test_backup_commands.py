"""What ``dr backup`` prints: every entry with what proved it, and nothing that an entry could smuggle in."""

import asyncio
import io
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from domain.backups import Level, PassedOver
from domain.contents import Contents, DatabaseState, TableState
from domain.dumps import Rebuilt
from domain.entries import Entry, EntryList, Source, StoredFile
from domain.errors import BackupUnusable
from domain.jobs import Job
from domain.wal_archive import Archived
from starter import orchestrator, protect
from starter.answer import Exit, answer, exit_of
from worker.settings import Settings

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
NAME = "20261122T020000Z-daily"
EVIL = "[bold]x[/bold]\x1b[31m\nFORGED: recovered"


def entry(**other: object) -> Entry:
    values: dict[str, object] = {
        "id": NAME,
        "store": "postgres",
        "kind": "daily",
        "path": f"postgres/daily/{NAME}",
        "started_at": NOW,
        "ended_at": NOW,
        "bytes": 3 << 20,
        "sha256": "ab" * 32,
        "verified": Level.RESTORED,
        "verified_at": NOW,
        "verified_by": "a drill",
    }
    return Entry.model_validate(values | other)


def drawn(draw: object, *given: object) -> str:
    text = io.StringIO()
    assert callable(draw)
    draw(Console(file=text, width=200, highlight=False, emoji=False), *given)
    return text.getvalue()


def test_a_list_names_store_kind_size_and_what_proved_each_backup() -> None:
    found = EntryList(entries=(entry(),), strangers=(PassedOver(id="notes.txt", reason="it is no store"),))
    said = drawn(protect._draw_list, found)
    line = next(line for line in said.splitlines() if NAME in line)
    assert line.split() == [
        NAME,
        "postgres",
        "daily",
        "2026-11-22",
        "02:00:00Z",
        "3.0",
        "MiB",
        "restored",
        "a",
        "drill",
    ]
    assert "not ours or broken: notes.txt: it is no store" in said


def test_an_id_is_shown_whole_however_narrow_the_terminal_is() -> None:
    long = "20261122T020000Z-configuration"
    rows = tuple(entry(id=name, store="stack", kind="configuration") for name in (long, NAME))
    text = io.StringIO()
    protect._draw_list(Console(file=text, width=80, highlight=False, emoji=False), EntryList(entries=rows))
    first = [line.split()[0] for line in text.getvalue().splitlines() if line.startswith(" 2026")]
    assert first == [long, NAME]


def test_what_has_no_room_in_a_column_goes_on_below_and_a_pipe_has_room_for_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    by = "pg_verifybackup-and-a-recovery-whose-copy-was-checked-against-the-record"
    found = EntryList(entries=(entry(verified_by=by),))
    narrow = io.StringIO()
    protect._draw_list(Console(file=narrow, width=80, highlight=False, emoji=False), found)
    assert "…" not in narrow.getvalue()
    head, *lines = narrow.getvalue().splitlines()
    assert "".join(line[head.index(" by") :].strip() for line in lines) == by
    answer("backup list", found, as_json=False, human=lambda console: protect._draw_list(console, found))
    assert by in capsys.readouterr().out


def test_a_damaged_backup_has_failed_its_verification_and_one_that_is_not_there_is_refused() -> None:
    told = BackupUnusable("one byte", where="/shelf", hint="another", code="backup-damaged")
    failed = protect._damaged(told)
    assert (failed.what, failed.where, failed.hint, failed.code) == (
        "one byte",
        "/shelf",
        "another",
        "backup-damaged",
    )
    assert exit_of(failed) is Exit.VERIFICATION_FAILED
    assert exit_of(protect._damaged(BackupUnusable("none", code="backup-unknown"))) is Exit.REFUSED


def test_an_entry_is_shown_with_its_source_its_files_and_what_it_held() -> None:
    held = DatabaseState(
        name="chat",
        file="chat.dump",
        tables=(TableState(name="public.users", rows=1200),),
        left_out=("dr.marker is not compared: it is the ledger's",),
    )
    seen = entry(
        files=(StoredFile(path="chat.dump", bytes=3 << 20, sha256="cd" * 32),),
        source=Source(system_identifier="77", version="17.11", image_id="sha256:0123456789abcdef"),
        contents=Contents(databases=(held,)),
        key_id="k1",
    )
    said = drawn(protect._draw_entry, seen)
    for part in (
        "system 77",
        "17.11",
        "0123456789ab",
        "with key k1",
        "restored at 2026-11-22 02:00:00Z by a drill",
    ):
        assert part in said
    assert "chat.dump  3,145,728 bytes  cdcdcdcdcdcdcdcd…" in said
    assert "chat: 1 tables, 1,200 rows" in said
    assert "dr.marker is not compared" in said


def test_what_an_entry_says_moves_no_terminal_and_forges_no_line() -> None:
    held = DatabaseState(name=EVIL, left_out=(EVIL,))
    seen = entry(
        reason=EVIL,
        verified_by=EVIL,
        source=Source(version=EVIL),
        contents=Contents(databases=(held,)),
        files=(StoredFile(path=EVIL, bytes=1, sha256="ab" * 32),),
    )
    for said in (drawn(protect._draw_entry, seen), drawn(protect._draw_list, EntryList(entries=(seen,)))):
        assert "\x1b" not in said
        assert not any(line.startswith("FORGED") for line in said.splitlines())
        assert "[bold]x" in said


def test_programs_are_told_where_the_data_of_a_base_backup_lies() -> None:
    base = entry(id="a", kind="base", path="postgres/base/a")
    assert protect._row(base)["path"] == "postgres/base/a/data"
    assert protect._row(entry())["path"] == f"postgres/daily/{NAME}"
    assert protect._row(entry())["verified_by"] == "a drill"


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(
    ("problems", "disbelieved", "status"),
    [
        ((), (), 0),
        (("20261122T030000Z-rdb: it is none",), (), 8),
        ((), (f"{NAME}: its contents.json is not believed: it is none",), 8),
    ],
)
def test_a_catalogue_that_is_not_whole_after_its_rebuilding_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
    problems: tuple[str, ...],
    disbelieved: tuple[str, ...],
    status: int,
    flags: list[str],
) -> None:
    async def rebuilt(*_: object) -> Rebuilt:
        return Rebuilt(
            sentence="1 entries were rebuilt", rebuilt=(NAME,), problems=problems, disbelieved=disbelieved
        )

    def run(work: Callable[[None, None], Coroutine[None, None, Exit]]) -> Exit:
        return asyncio.run(work(None, None))

    monkeypatch.setattr(orchestrator, "execute", rebuilt)
    monkeypatch.setattr(orchestrator, "run", run)
    said = CliRunner().invoke(protect.app, ["rebuild-catalogue", *flags])
    assert said.exit_code == status
    if flags:
        data = {"rebuilt": [NAME], "problems": list(problems), "disbelieved": list(disbelieved)}
        assert json.loads(said.stdout)["data"] == data
    else:
        told = [f"stays without: {one}" for one in problems] + [f"says less: {one}" for one in disbelieved]
        assert " ".join(said.stdout.split()) == " ".join(["1 entries were rebuilt", *told])


def test_every_kind_of_backup_by_hand_takes_the_lock_of_its_job() -> None:
    jobs = [what.job for what in protect.What]
    assert len(set(jobs)) == len(jobs)
    assert set(Job) - set(jobs) == {Job.OFFSITE, Job.VERIFICATION, Job.RETENTION}


def test_the_archive_is_seen_to_by_hand_under_its_own_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[object] = []

    async def start(*given: object) -> None:
        begun.extend((given[2], given[4]))

    async def result_of(_: object) -> Archived:
        return Archived(sentence="WAL is archived to 0/3000060", slot="s", received_lsn="0/3000060")

    def run(work: Callable[[None, Settings], Coroutine[None, None, Exit]]) -> Exit:
        return asyncio.run(work(None, Settings(state=tmp_path, default_stack="lab")))

    monkeypatch.setattr(orchestrator, "start", start)
    monkeypatch.setattr(orchestrator, "result_of", result_of)
    monkeypatch.setattr(orchestrator, "run", run)
    said = CliRunner().invoke(protect.app, ["now", "wal", "--json"])
    assert said.exit_code == 0
    assert begun == ["ArchiveWal", "backup/lab/postgres/wal"]
    assert json.loads(said.stdout)["data"]["received_lsn"] == "0/3000060"


def test_runs_for_one_stack_meet_in_one_workflow_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DR_DEFAULT_STACK", raising=False)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "shop.yaml").write_text("")
    settings = Settings(state=tmp_path)
    assert settings.stack_for("given") == "given"
    assert settings.stack_for("") == "shop"
    assert settings.model_copy(update={"default_stack": "other"}).stack_for("") == "other"
