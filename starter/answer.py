"""How ``dr`` answers: one envelope for programs, plain lines for people, and the exit codes."""

import json
import re
import sys
from collections.abc import Callable
from enum import IntEnum

from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table

from domain.errors import BackupUnusable, DrError, Refused, Unavailable, VerificationFailed
from domain.inert import visible

SCHEMA_VERSION = 1
_WIDE = 1000
_MARKUP = re.compile(r"(\\+)(?=\[|\Z)|\[")


class Exit(IntEnum):
    """What an exit status of ``dr`` means."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    STOOD_DOWN = 3
    PARKED = 4
    REFUSED = 5
    UNAVAILABLE = 6
    BUSY = 7
    VERIFICATION_FAILED = 8
    ABORTED = 9


class Busy(DrError):
    """Another run holds the stack."""


OUTCOME_EXIT = {
    "recovered": Exit.DONE,
    "stood_down": Exit.STOOD_DOWN,
    "aborted": Exit.ABORTED,
    "needs_human": Exit.PARKED,
}


def exit_of(error: DrError) -> Exit:
    """Return the exit status that an error deserves."""
    match error:
        case Busy():
            return Exit.BUSY
        case Refused() | BackupUnusable():
            return Exit.REFUSED
        case Unavailable():
            return Exit.UNAVAILABLE
        case VerificationFailed():
            return Exit.VERIFICATION_FAILED
        case _:
            return Exit.ERROR


people = Console(stderr=True, highlight=False, emoji=False)
"""Where progress and questions go; standard output holds nothing but the answer."""


def plain(text: str) -> str:
    """Return a text that is safe to print: on one line, no control characters, no markup.

    It stays so whatever stands before and after it in a line that has markup of its own.
    """
    # rich's own escape leaves an unclosed bracket alone, which the next value in the line may close.
    return _MARKUP.sub(lambda f: f"{f[1]}{f[1]}[none][/]" if f[1] else "\\[", visible(text))


def columns(*titles: str, whole: tuple[str, ...] = ()) -> Table:
    """Return a table without lines that shows all of every cell: what has no room goes on below.

    Columns that are ``whole`` are as wide as they need to be, for what they show is copied by hand.
    """
    return Table(*(Column(one, overflow="fold", no_wrap=one in whole) for one in titles), box=None)


def _console() -> Console:
    """Return where answers for people go; a file or a pipe has no edge that lines had to end at."""
    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=_WIDE)


def say(sentence: str) -> None:
    """Say one line of progress."""
    people.print(plain(sentence))


def answer(command: str, data: object, *, as_json: bool, human: Callable[[Console], None]) -> None:
    """Print the answer: the envelope with ``--json``, else what ``human`` draws."""
    if as_json:
        envelope = {"schema_version": SCHEMA_VERSION, "command": command, "data": _plain_data(data)}
        sys.stdout.write(json.dumps(envelope, ensure_ascii=True, indent=2) + "\n")
    else:
        human(_console())


def answer_error(command: str, error: DrError, *, as_json: bool) -> None:
    """Print an error: in the envelope with ``--json``, else what, where, HINT and code."""
    if as_json:
        body = {"what": error.what, "where": error.where, "hint": error.hint, "code": error.code}
        envelope = {"schema_version": SCHEMA_VERSION, "command": command, "error": body}
        sys.stdout.write(json.dumps(envelope, ensure_ascii=True, indent=2) + "\n")
        return
    people.print(f"[bold red]{plain(error.what)}[/]")
    if error.where:
        people.print(f"  where: {plain(error.where)}")
    if error.hint:
        people.print(f"  HINT: {plain(error.hint)}")
    people.print(f"  code: {plain(error.code)}")


def _plain_data(data: object) -> object:
    if isinstance(data, BaseModel):
        return data.model_dump(mode="json")
    if isinstance(data, (list, tuple)):
        return [_plain_data(item) for item in data]
    if isinstance(data, dict):
        return {key: _plain_data(value) for key, value in data.items()}
    return data
