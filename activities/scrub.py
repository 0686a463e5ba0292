"""Takes out of a container's log what its own environment says is a secret, however the log spells it."""

import json
import re
from collections import deque
from collections.abc import Iterable

from domain.inert import HIDDEN

_SECRET = re.compile(
    r"(?i)pass|pwd|secret|token|credential|(^|_)(api|access|master|private|jwt|signing|encryption|root)?_?keys?$"
    r"|(^|_)(dsn|url|uri)s?$|_key_"
)
_PLACE = re.compile(r"(?i)(file|path|dir)$")
_IN_ADDRESS = re.compile(r"://[^\s:/@]*:([^\s]+)@")
_LEAST = 6
_LOG_BYTES = 16 * 1024 * 1024
_LINE = 4000
_PLAIN_WORD = re.compile(r"[a-z]+|\d+")


def secrets_in(environment: Iterable[str]) -> set[str]:
    """Return the values among ``NAME=value`` that are secrets by their names, and passwords in addresses.

    A word such as ``postgres`` or a number is none: taken out everywhere, it would make the log useless.
    """
    found: set[str] = set()
    for entry in environment:
        name, _, value = entry.partition("=")
        if not _SECRET.search(name) or _PLACE.search(name):
            continue
        found |= set(_IN_ADDRESS.findall(value))
        if "://" not in value:
            found |= {value, *_texts(value)}
    return {one for one in found if len(one) >= _LEAST and _PLAIN_WORD.fullmatch(one) is None}


def readable(stream: Iterable[bytes]) -> str:
    """Return the end of a log as text, its lines cut.

    A service may log gigabytes, and a line of megabytes keeps a pattern busy for hours (F-K6, F-K7).
    """
    kept: deque[bytes] = deque()
    held = 0
    for piece in stream:
        kept.append(piece[-_LOG_BYTES:])
        held += len(kept[-1])
        while held > _LOG_BYTES and len(kept) > 1:
            held -= len(kept.popleft())
    text = b"".join(kept).decode(errors="replace")
    return "\n".join(line[:_LINE] for line in text.split("\n"))


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text without these secrets, as they are and as JSON writes them."""
    for secret in sorted(secrets, key=len, reverse=True):
        for spelled in {secret, json.dumps(secret)[1:-1]}:
            text = text.replace(spelled, HIDDEN)
    return text


def _texts(value: str) -> set[str]:
    """Return the texts inside a value that is JSON, as Hasura's ``{"type":"HS256","key":"..."}`` is."""
    try:
        found = json.loads(value) if value.startswith("{") else {}
    except (ValueError, RecursionError):
        return set()
    return {one for one in found.values() if isinstance(one, str)} if isinstance(found, dict) else set()
