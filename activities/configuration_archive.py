"""The archive of a configuration: packed in memory, and unpacked under caps and by its own rules (F-K7).

A link is a member too when it leads to another one: certbot's certificates are links. Files are written first
and links last, so that nothing is ever written through one.
"""

import io
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from activities import plain_files
from domain.configuration import OUTSIDE, PROJECT
from domain.configuration_links import what_is_loose
from domain.errors import BackupUnusable

LIMIT_BYTES = 48 * 1024 * 1024
LIMIT_MEMBERS = 5_000
_LONGEST = 900
_DEEPEST = 40
_MODES = 0o755
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,250}")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Member:
    """One file of an archive, or a link whose content is where it leads."""

    content: bytes = field(repr=False)
    mode: int = 0o600
    is_link: bool = False


def pack(members: Mapping[str, Member]) -> bytes:
    """Return an archive of the members; the same members give the same bytes."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, member in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.mode = member.mode & _MODES
            if member.is_link:
                entry.type, entry.linkname = tarfile.SYMTYPE, member.content.decode()
                archive.addfile(entry)
                continue
            entry.size = len(member.content)
            archive.addfile(entry, io.BytesIO(member.content))
    return held.getvalue()


def unpack(packed: bytes) -> dict[str, Member]:
    """Return the members of an archive, read to its end.

    Raises ``BackupUnusable`` (``archive-unusable``) for anything but plain files of plain names and links
    that end at one of them, and past the caps: nothing is allocated for what a member merely says of its
    size.
    """
    found: dict[str, Member] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for entry in archive:
                wrong = _what_is_wrong(entry)
                total += max(entry.size, 0)
                if not wrong and entry.name in found:
                    wrong = "it is there twice"
                if not wrong and (len(found) >= LIMIT_MEMBERS or total > LIMIT_BYTES):
                    wrong = f"more than {LIMIT_MEMBERS} files or {LIMIT_BYTES} bytes"
                if wrong:
                    raise _unusable(f"{entry.name[:200]!r}: {wrong}")
                found[entry.name] = _member(archive, entry)
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        raise _unusable(f"it is no archive: {type(error).__name__}") from None
    loose = _what_is_loose(found)
    if loose:
        raise _unusable(loose[:400])
    return found


def write_out(members: Mapping[str, Member], directory: Path) -> None:
    """Write the members below a directory that is there and empty, links last. Raises ``OSError``."""
    for name, member in sorted(members.items(), key=lambda one: (one[1].is_link, one[0])):
        path = directory / name
        for above in reversed(path.relative_to(directory).parents[:-1]):
            plain_files.own(directory / above, os.geteuid(), os.getegid())
        with plain_files.directory(path.parent) as above_it:
            if member.is_link:
                os.symlink(member.content, os.fsencode(path.name), dir_fd=above_it)
                continue
            handle = os.open(path.name, _NEW, member.mode & _MODES | 0o400, dir_fd=above_it)
        with os.fdopen(handle, "wb") as file:
            file.write(member.content)
            file.flush()
            os.fsync(handle)


def name_limitation(name: str) -> str:
    """Return why a member could not have this name, or nothing."""
    parts = name.split("/")
    if len(name) > _LONGEST or len(parts) > _DEEPEST:
        return "its name is too long"
    if any(part in {".", ".."} or _NAME.fullmatch(part) is None for part in parts):
        return "its name could lead elsewhere"
    return ""


def link_limitation(text: str) -> str:
    """Return why a link could not say this, or nothing; whether it stays inside is another question."""
    parts = [part for part in text.split("/") if part not in {"", ".", ".."}]
    if not text or text.startswith("/") or len(text) > _LONGEST:
        return "it is a link that could lead elsewhere"
    return "" if all(_NAME.fullmatch(part) for part in parts) else "its name could lead elsewhere"


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    if entry.issym():
        return Member(entry.linkname.encode(), entry.mode & _MODES, is_link=True)
    file = archive.extractfile(entry)
    content = file.read(entry.size) if file is not None else b""
    if len(content) != entry.size:
        raise _unusable(f"{entry.name[:200]!r} is cut off")
    return Member(content, entry.mode & _MODES)


def _what_is_loose(members: Mapping[str, Member]) -> str:
    links = {name: member.content.decode() for name, member in members.items() if member.is_link}
    files = (name for name, member in members.items() if not member.is_link)
    return what_is_loose(links, files, (PROJECT, OUTSIDE))


def _what_is_wrong(entry: tarfile.TarInfo) -> str:
    if entry.issym():
        wrong = name_limitation(entry.name) or link_limitation(entry.linkname)
    elif entry.isreg() and not entry.issparse():
        wrong = name_limitation(entry.name)
    else:
        return "it is no plain file"
    if wrong:
        return wrong
    try:
        tarfile.data_filter(entry, "/nowhere")
    except tarfile.FilterError as error:
        return f"it is refused: {type(error).__name__}"
    return ""


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(f"the archive of the configuration: {what}", code="archive-unusable")
