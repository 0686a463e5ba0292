"""The report as files: completed from a real history, inert whatever it says, the same when written twice."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from activities.history import Histories, read_history
from activities.report_page.inert import markdown
from activities.report_page.render import as_html, as_json, as_markdown, as_yaml
from activities.reports import Reports
from domain.errors import Refused, Unavailable
from domain.report import (
    Report,
    ReportOrder,
)
from infra.temporal.server import find_program
from worker.report_store import load_report, report_path

DATA = Path(__file__).parent / "reports"
T0 = datetime(2026, 11, 22, 4, 30, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


SAMPLE = Report.model_validate(yaml.safe_load((DATA / "sample.yaml").read_text()))


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, its attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = (
    '<script>alert(1)</script>" onload=alert(1) {{7*7}} `|[x](javascript:x)| \x1b[31m\x9b2J\u202e'
    + "W" * 9000
)


def everywhere(text: str) -> Report:
    """Return the sample with ``text`` in every field that takes any text."""

    def put(value: object, name: str) -> object:
        if isinstance(value, dict):
            return {text if name == "facts" else key: put(item, key) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [put(item, name) for item in value]
        fixed = isinstance(value, str) and (name == "mode" or value == "recovered")
        return text if isinstance(value, str) and not fixed else value

    return Report.model_validate(put(SAMPLE.model_dump(), ""))


class Given:
    """A history that is handed in."""

    def __init__(self, events: tuple[HistoryEvent, ...] = ()) -> None:
        self.events = events

    async def fetch(self, *_: str) -> tuple[HistoryEvent, ...]:
        return self.events


def reports(state: Path, console: str = "") -> Reports:
    return Reports(state, Given(), console)  # type: ignore[arg-type]  # only fetch is asked for


def contents(state: Path) -> dict[str, bytes]:
    return {str(p.relative_to(state)): p.read_bytes() for p in state.rglob("*") if p.is_file()}


async def test_written_twice_it_is_the_same(tmp_path: Path) -> None:
    hand = reports(tmp_path)
    first = await hand.ensure_report_written(ReportOrder(draft=SAMPLE))
    before = contents(tmp_path)
    assert await hand.ensure_report_written(ReportOrder(draft=SAMPLE)) == first
    assert contents(tmp_path) == before
    where = f"reports/nchat/{SAMPLE.recovery_id}/report."
    assert {*before} == {
        *(where + ending for ending in ("yaml", "json", "md", "html")),
        "reports/latest.json",
        "audit/audit.jsonl",
        "audit/head.json",
    }


async def test_a_report_is_found_again_as_latest_and_by_each_of_its_names(tmp_path: Path) -> None:
    written = await reports(tmp_path).ensure_report_written(ReportOrder(draft=SAMPLE))
    for name in (None, SAMPLE.recovery_id, SAMPLE.run_id, SAMPLE.workflow_id):
        assert load_report(tmp_path, name) == written.report
    assert load_report(tmp_path, "another") is None
    assert load_report(tmp_path / "nothing") is None


async def test_a_plan_is_written_and_never_the_latest(tmp_path: Path) -> None:
    plan = SAMPLE.model_copy(update={"mode": "plan"})
    await reports(tmp_path).ensure_report_written(ReportOrder(draft=plan))
    assert load_report(tmp_path) is None
    assert load_report(tmp_path, SAMPLE.run_id) is not None


async def test_a_late_repetition_of_an_older_run_does_not_become_the_latest(tmp_path: Path) -> None:
    later = SAMPLE.model_copy(update={"run_id": "b", "recovery_id": "later", "started_at": at(900)})
    for draft in (SAMPLE, later, SAMPLE):
        await reports(tmp_path).ensure_report_written(ReportOrder(draft=draft))
    assert report_path(tmp_path) == tmp_path / "reports/nchat/later/report.json"


@pytest.mark.parametrize("name", ["../../etc", "", "a/b", ".hidden", "a\n"])
async def test_a_name_that_is_no_file_name_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str
) -> None:
    for field in ("stack", "recovery_id"):
        with pytest.raises(Refused):
            await reports(tmp_path).ensure_report_written(
                ReportOrder(draft=SAMPLE.model_copy(update={field: name}))
            )
    assert not contents(tmp_path)


async def test_a_full_or_closed_directory_is_told_as_unavailable(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(Unavailable):
        await reports(tmp_path).ensure_report_written(ReportOrder(draft=SAMPLE))


async def test_the_link_leads_to_the_run_in_the_web_ui(tmp_path: Path) -> None:
    draft = SAMPLE.model_copy(update={"link": ""})
    hand = reports(tmp_path, "http://127.0.0.1:8233/namespaces/default")
    assert (await hand.ensure_report_written(ReportOrder(draft=draft))).report.link == SAMPLE.link


def test_the_four_formats_say_the_same() -> None:
    assert Report.model_validate_json(as_json(SAMPLE)) == SAMPLE
    assert Report.model_validate(yaml.safe_load(as_yaml(SAMPLE))) == SAMPLE
    page, text = Seen(as_html(SAMPLE)).text, as_markdown(SAMPLE)
    said = [p.evidence for p in SAMPLE.checks] + [s.sentence for s in SAMPLE.steps] + [*SAMPLE.passed_over]
    for sentence in (*said, SAMPLE.kept_aside[0].release_command, "not measured"):
        assert sentence in page
        assert sentence in text.replace("\\", "")


def test_the_page_stands_alone() -> None:
    seen = Seen(as_html(SAMPLE))
    assert not seen.tags & {"script", "img", "link", "iframe", "object", "embed", "form"}
    fetching = [
        value for name, value in seen.attributes if name in ("src", "href", "srcset", "data", "action")
    ]
    assert fetching == [SAMPLE.link]


def test_hostile_text_in_every_field_stays_text_on_the_page() -> None:
    page = as_html(everywhere(HOSTILE))
    plain = Seen(as_html(SAMPLE))
    seen = Seen(page)
    assert seen.tags <= plain.tags | {"dt"}
    assert {name for name, _ in seen.attributes} <= {name for name, _ in plain.attributes}
    assert not [v for name, v in seen.attributes if name == "href" and "script" in v]
    assert "<script>alert(1)</script>" in seen.text
    assert "{{7*7}}" in seen.text
    assert "\\x1b[31m\\x9b2J\\u202e" in seen.text
    assert "more characters in report.json" in seen.text


def test_no_format_holds_a_character_that_moves_a_terminal_or_turns_text_around() -> None:
    report = everywhere(HOSTILE)
    for written in (as_html(report), as_markdown(report), as_yaml(report), as_json(report)):
        assert not {"\x1b", "\x9b", "\u202e", "\x00"} & {*written}


def test_hostile_text_opens_nothing_in_markdown() -> None:
    text = as_markdown(everywhere("<b>x</b> `code` [a](b) | cell\n# heading"))
    in_no_code = re.sub(r"(`+) ?.*?[^`]\1(?!`)", "", text.replace("\\`", ""))
    assert "<b>" not in in_no_code
    assert "](b)" not in in_no_code.replace("\\]", "")
    assert "\n# heading" not in text
    rows = [row for row in text.splitlines() if row.startswith("| 04:")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {7}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# a", "\\# a"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("1.3 GB", "1.3 GB"),
        ("a_b *c*", "a_b \\*c\\*"),
    ],
)
def test_only_what_markdown_would_take_for_markup_is_escaped(text: str, written: str) -> None:
    assert markdown(text) == written


def test_what_was_not_measured_is_said_and_never_shown_as_zero() -> None:
    bare = Report(
        run_id="r", workflow_id="w", recovery_id="i", stack="s", scenario="X", mode="drill",
        outcome="stood_down", rule="sound", headline="Stood down: nothing was changed",
    )  # fmt: skip
    seen = Seen(as_html(bare)).text
    assert seen.count("not measured") >= 8
    assert "0 s" not in seen
    assert "Drill:" in seen
    assert as_markdown(bare).startswith("# [drill] Stood down")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=find_program(),
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
    ) as environment:
        yield environment.client


async def run_with_a_killed_worker(client: Client, tmp_path: Path) -> tuple[str, list[int]]:
    """Run a workflow, kill its worker in the middle of a step, and let a second worker end it."""
    running = tmp_path / "running"
    argv = [
        sys.executable,
        str(DATA / "trial_worker.py"),
        client.service_client.config.target_host,
        str(running),
    ]
    handle = await client.start_workflow("Trial", id="recovery/trial", task_queue="trial",
                                         task_timeout=timedelta(seconds=2))  # fmt: skip
    workers = [subprocess.Popen(argv)]  # noqa: ASYNC220 - it starts at once
    try:
        while not running.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
        os.kill(workers[0].pid, signal.SIGKILL)
        workers[0].wait()
        workers.append(subprocess.Popen(argv))  # noqa: ASYNC220 - the same
        await handle.result()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return handle.first_execution_run_id or "", [worker.pid for worker in workers]


@pytest.mark.long
async def test_a_killed_worker_is_told_by_the_runs_own_history(client: Client, tmp_path: Path) -> None:
    run_id, (dead, successor) = await run_with_a_killed_worker(client, tmp_path)

    async def connect() -> Client:
        return client

    histories = Histories(connect)
    draft = SAMPLE.model_copy(
        update={"run_id": run_id, "workflow_id": "recovery/trial", "steps": (), "interruptions_survived": ()}
    )
    order = ReportOrder(draft=draft, step_id="report")
    report = (await Reports(tmp_path, histories).ensure_report_written(order)).report
    restore, flaky = report.steps
    assert (restore.id, restore.title, restore.attempts) == ("restore", "Restore the backup", 2)
    assert (restore.outcome, restore.sentence) == ("done", "1.3 GB restored.")
    assert restore.workers[0].endswith(f"/{successor}")
    assert (flaky.id, flaky.attempts, flaky.outcome, len(flaky.spans)) == ("flaky", 3, "done", 2)
    flags = {flag.kind: flag.sentence for flag in report.interruptions_survived}
    assert {*flags} == {"worker_killed", "worker_changed", "attempt_retried"}
    assert f"/{dead} died while 'Restore the backup' ran; attempt 2" in flags["worker_killed"]
    assert "the registry did not answer" in flags["attempt_retried"]

    events = await histories.fetch("recovery/trial", run_id)
    asked = [e for e in events if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
    assert len(asked) == 4, "the hand without a name of its own is in the history and no step"
    until, _ = read_history(events, until_step="flaky")
    assert [step.id for step in until] == ["restore"]


async def test_a_server_that_gives_no_history_is_unavailable(client: Client) -> None:
    async def connect() -> Client:
        return client

    async def nothing_there() -> Client:
        raise ConnectionRefusedError

    for way in (connect, nothing_there):
        with pytest.raises(Unavailable):
            await Histories(way).fetch("recovery/unknown", "")


async def test_the_written_pointer_names_run_workflow_and_path(tmp_path: Path) -> None:
    written = await reports(tmp_path).ensure_report_written(ReportOrder(draft=SAMPLE))
    named = json.loads((tmp_path / "reports/latest.json").read_text())
    path = next(path for path in written.paths if path.endswith(".json"))
    assert named == {"run_id": SAMPLE.run_id, "workflow_id": SAMPLE.workflow_id, "path": path}
