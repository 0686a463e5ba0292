"""Looks for secrets where none may be: in histories, logs and reports, however they are spelled there."""

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from activities import stored
from activities.pulse import beat
from domain.backups import spoken_bytes
from domain.recovery import Proof

_NAME = "search for secrets"
_LEAST = 6
"""A shorter one would be found everywhere."""
_NAMED = 5
_LONGEST_SIGN = 6
"""Characters that one sign of a secret may take, as ``&quot;`` does."""
_BACKSLASH = re.compile(rb"\\([^A-Za-z0-9])")


@dataclass(frozen=True)
class Leak:
    """A secret that was found; its value is never told."""

    secret: str
    place: str


@dataclass(frozen=True)
class Scanned:
    """What was looked through and found."""

    bytes: int
    leaks: tuple[Leak, ...]


def spelled(secret: str) -> frozenset[bytes]:
    """Return how a secret may be written: plain, in JSON and addresses, within base64 at any place."""
    texts = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    texts |= {quote(secret, safe="")}
    written = {text.encode() for text in texts}
    for inner in tuple(written):
        written |= {_inside_base64(inner, skipped) for skipped in range(3)}
    return frozenset(one for one in written if len(one) >= _LEAST)


def _inside_base64(secret: bytes, skipped: int) -> bytes:
    """Return the part of a longer text's base64 that a secret alone decides, for its place in it."""
    encoded = base64.b64encode(bytes(skipped) + secret)
    begins = -(-skipped * 8 // 6)
    ends = (skipped + len(secret)) * 8 // 6
    return encoded[begins:ends]


def _settled(window: bytes) -> bytes:
    """Return a text without the entities of HTML and the backslashes before signs, as reports write them."""
    return _BACKSLASH.sub(rb"\1", html.unescape(window.decode(errors="replace")).encode())


def found_in(place: str, chunks: Iterable[bytes], secrets: Mapping[str, str]) -> Scanned:
    """Look through something that comes in chunks; a secret that lies across two is found as well."""
    wanted = {name: spelled(value) for name, value in secrets.items() if len(value) >= _LEAST}
    longest = max((len(one) for forms in wanted.values() for one in forms), default=0)
    found: set[str] = set()
    kept, size = b"", 0
    for chunk in chunks:
        size += len(chunk)
        window = kept + chunk
        views = (window, _settled(window))
        found |= {
            name for name, forms in wanted.items() if any(one in view for one in forms for view in views)
        }
        kept = window[-longest * _LONGEST_SIGN :] if longest else b""
    return Scanned(size, tuple(Leak(name, place) for name in sorted(found)))


def scan_files(root: Path, secrets: Mapping[str, str]) -> Scanned:
    """Look through every regular file below a directory; no link is followed. Raises ``OSError``."""
    size = 0
    leaks: list[Leak] = []
    paths = [Path(folder, name) for folder, _, files in os.walk(root) for name in files]
    for path in sorted(paths):
        if path.is_symlink() or not path.is_file():
            continue
        name = str(path.relative_to(root))
        beat(f"looking for secrets in {name}")
        one = found_in(name, stored.chunks(path, lambda _: beat("looking for secrets")), secrets)
        size += one.bytes
        leaks += one.leaks
    return Scanned(size, tuple(leaks))


def proof_of(scanned: Iterable[Scanned], secrets: Mapping[str, str]) -> Proof:
    """Return whether no secret was found. A look for nothing, or into nothing, proves nothing."""
    scanned = tuple(scanned)
    leaks = [f"{leak.secret} in {leak.place}" for one in scanned for leak in one.leaks]
    size = sum(one.bytes for one in scanned)
    searched = sum(len(value) >= _LEAST for value in secrets.values())
    if leaks:
        said = "; ".join(leaks[:_NAMED])
        return Proof(name=_NAME, passed=False, evidence=f"{len(leaks)} found: {said}")
    if not searched or not size:
        return Proof(name=_NAME, passed=None, evidence="nothing was looked for, or nothing looked through")
    said = f"none of {searched} is in {spoken_bytes(size)}"
    return Proof(name=_NAME, passed=True, evidence=said)
