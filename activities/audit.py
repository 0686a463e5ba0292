"""The audit file: every decision that was counted or refused and how each run ended, as a chain of lines.

It lies in ``DR_STATE/audit``; a line that is taken out or changed breaks the chain.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from activities import plain_files
from domain.chain import FIRST, Head, facts_of, hash_of, linked, what_is_wrong
from domain.recovery import Proof
from domain.report import Report

_LIMIT_BYTES = 1024 * 1024 * 1024
_HEAD_LIMIT_BYTES = 4096


class Audit:
    """Appends lines and tells whether the chain is whole."""

    def __init__(self, state: Path) -> None:
        """``state`` is DR_STATE."""
        self.directory = state.resolve() / "audit"
        self.file = self.directory / "audit.jsonl"
        self.head = self.directory / "head.json"

    def note(self, report: Report) -> None:
        """Write down the decisions of a run and its outcome; what is written already is not written again."""
        run = {"run_id": report.run_id, "stack": report.stack, "scenario": report.scenario}
        facts: list[dict[str, object]] = [
            {"kind": "decision", **run, **decision.model_dump(mode="json")} for decision in report.decisions
        ]
        if report.mode != "plan" and report.ended_at is not None:
            end = {"outcome": str(report.outcome), "rule": report.rule, "at": report.ended_at.isoformat()}
            facts.append({"kind": "end", **run, **end})
        self.append(facts)

    def append(self, facts: Iterable[Mapping[str, object]]) -> None:
        """Add each fact that is not in the file yet. Raises ``OSError``."""
        wanted = [dict(fact) for fact in facts]
        if not wanted:
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._held() as file:
            lines = _whole_lines(file)
            known = [facts_of(line) for line in lines]
            before = hash_of(lines[-1]) if lines else FIRST
            count = len(lines)
            for fact in wanted:
                if fact in known:
                    continue
                count += 1
                line = linked(count, before, fact)
                before = hash_of(line)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                head = Head(lines=count, last=before)
                plain_files.replace(self.head, head.model_dump_json().encode())

    def proof(self) -> Proof:
        """Return whether the chain is whole; a file that was never written proves nothing."""
        try:
            lines = _text_lines(plain_files.read(self.file, _LIMIT_BYTES)) if self.file.exists() else []
            wrong = what_is_wrong(lines, self._head())
        except (OSError, ValueError) as error:
            return Proof(name="audit file", passed=False, evidence=f"it cannot be read: {error}")
        if wrong:
            return Proof(name="audit file", passed=False, evidence=wrong)
        if not lines:
            return Proof(name="audit file", passed=None, evidence="nothing was written into it yet")
        return Proof(name="audit file", passed=True, evidence=f"{len(lines)} lines, each bound to the last")

    def _head(self) -> Head | None:
        try:
            return Head.model_validate_json(plain_files.read(self.head, _HEAD_LIMIT_BYTES))
        except FileNotFoundError:
            return None
        except ValidationError:
            # The message of a validation quotes what was found.
            message = "its head is none"
            raise ValueError(message) from None

    @contextmanager
    def _held(self) -> Iterator[BinaryIO]:
        """Open the file for this process alone, so that two runs that end at once do not share a number."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.file, flags, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _whole_lines(file: BinaryIO) -> list[str]:
    """Return the lines; half of one, which a power cut leaves, is cut off."""
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    file.seek(whole)
    return _text_lines(content[:whole])


def _text_lines(content: bytes) -> list[str]:
    return content.decode(errors="replace").splitlines()
