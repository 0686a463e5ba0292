"""A chain of lines, each with the hash of the one before it: what was taken out or changed shows. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from domain.order import Value

FIRST = "0" * 64
"""What stands before the first line."""


class Head(Value):
    """Where the chain ends, kept apart from it: without that nobody would miss its last lines."""

    lines: int
    last: str


def linked(number: int, before: str, facts: Mapping[str, object]) -> str:
    """Return a line, without its end: the facts with their number, the hash before and their own."""
    bare = {"n": number, "before": before, "facts": dict(facts)}
    return json.dumps({**bare, "hash": _hash(bare)}, sort_keys=True)


def hash_of(line: str) -> str:
    """Return the hash that a line states; empty for what is no line of a chain."""
    found = _parsed(line)
    return str(found.get("hash", "")) if found else ""


def facts_of(line: str) -> Mapping[str, object]:
    """Return the facts in a line; none for what is no line of a chain."""
    found = _parsed(line)
    facts = found.get("facts") if found else None
    return facts if isinstance(facts, dict) else {}


def what_is_wrong(lines: Sequence[str], head: Head | None) -> str:
    """Return the first place where the chain is broken, or nothing.

    One line more than the head knows is what a crash leaves; one less has been taken away.
    """
    if not lines and head is None:
        return ""
    if head is None:
        return f"its head is missing, and there are {len(lines)} lines"
    before = FIRST
    for number, line in enumerate(lines, 1):
        wrong = _broken(number, line, before)
        if wrong:
            return wrong
        before = hash_of(line)
        if number == head.lines and before != head.last:
            return f"line {number} is another one than was written"
    missing = head.lines - len(lines)
    if missing > 0:
        return f"{missing} lines at its end are missing"
    return f"{-missing} lines were added behind its end" if missing < -1 else ""


def _broken(number: int, line: str, before: str) -> str:
    found = _parsed(line)
    if found is None:
        return f"line {number} is none of the chain"
    bare = {key: found.get(key) for key in ("n", "before", "facts")}
    if found.get("hash") != _hash(bare):
        return f"line {number} was changed"
    if found.get("n") != number or found.get("before") != before:
        return f"before line {number} something was taken out or put in"
    return ""


def _parsed(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _hash(bare: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()
