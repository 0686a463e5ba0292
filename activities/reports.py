"""Writes the report of a run: completed from the run's own history, in four formats, safe to write twice."""

import asyncio
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from temporalio import activity

from activities.audit import Audit
from activities.history import Histories, read_history
from activities.report_page.render import as_html, as_json, as_markdown, as_yaml
from domain.errors import Refused, Unavailable
from domain.report import Report, ReportOrder, ReportWritten, completed
from domain.verdict import headline

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")
_FORMATS = {"yaml": as_yaml, "json": as_json, "md": as_markdown, "html": as_html}


class Reports:
    """Completes and writes reports under ``<state>/reports``."""

    def __init__(self, state: Path, histories: Histories, console: str = "") -> None:
        """Write below ``state``; ``console`` is the address of a namespace in the Web UI, for the link.

        Such an address looks like ``http://127.0.0.1:8233/namespaces/default``.
        """
        self._root = state / "reports"
        self._histories = histories
        self._audit = Audit(state)
        self._console = console.rstrip("/")

    @activity.defn
    async def ensure_report_written(self, order: ReportOrder) -> ReportWritten:
        """Complete the draft from the run's history, write it in all formats, note its decisions for good.

        Raises ``Refused`` for names that are no file names and ``Unavailable`` when the history cannot be
        read or the files cannot be written.
        """
        draft = order.draft
        directory = self._directory(draft)
        events = await self._histories.fetch(draft.workflow_id, draft.run_id)
        steps, survived = read_history(events, until_step=order.step_id)
        own = tuple(step for step in draft.steps if step.id != order.step_id)
        report = completed(draft.model_copy(update={"steps": own}), steps, survived)
        report = report.model_copy(
            update={
                "headline": report.headline or headline(report),
                "link": report.link or self._link(report),
            }
        )
        paths = await asyncio.to_thread(self._write, directory, report)
        return ReportWritten(
            report=report, paths=paths, sentence=f"The report lies in {directory}: {report.headline}."
        )

    def _directory(self, report: Report) -> Path:
        for part in (report.stack, report.recovery_id):
            if not _PART.fullmatch(part):
                raise Refused(
                    "the report has no name to be filed under",
                    where=repr(part),
                    hint="stack and recovery id are letters, digits, points and hyphens",
                    code="report-name",
                )
        return self._root / report.stack / report.recovery_id

    def _link(self, report: Report) -> str:
        if not self._console:
            return ""
        where = f"{quote(report.workflow_id, safe='')}/{quote(report.run_id, safe='')}"
        return f"{self._console}/workflows/{where}/history"

    def _write(self, directory: Path, report: Report) -> tuple[str, ...]:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            paths = []
            for ending, written_as in _FORMATS.items():
                path = directory / f"report.{ending}"
                _replace(path, written_as(report))
                paths.append(str(path))
            self._point_to(directory / "report.json", report)
            self._audit.note(report)
        except OSError as error:
            raise Unavailable(
                "the report cannot be written",
                where=str(directory),
                hint=f"look at room and permissions: {error.strerror}",
                code="report-unwritable",
            ) from error
        return tuple(paths)

    def _point_to(self, path: Path, report: Report) -> None:
        """Name this report as the latest one, unless a run that began later is named already."""
        pointer = self._root / "latest.json"
        if report.mode == "plan" or self._named_is_later(pointer, report):
            return
        named = {"run_id": report.run_id, "workflow_id": report.workflow_id, "path": str(path)}
        _replace(pointer, json.dumps(named, indent=2) + "\n")

    def _named_is_later(self, pointer: Path, report: Report) -> bool:
        try:
            named = Report.model_validate_json(Path(json.loads(pointer.read_text())["path"]).read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return False  # a pointer to nothing keeps no place
        if named.started_at is None or report.started_at is None or named.run_id == report.run_id:
            return False
        return named.started_at > report.started_at


def _replace(path: Path, text: str) -> None:
    """Put a file in its place whole: a reader sees the old one or the new one, also after a power cut."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
