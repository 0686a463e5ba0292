"""The archive of a configuration: packed in memory, and unpacked under caps and by its own rules (F-K7)."""

import io
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from activities import plain_files
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
    """One file of an archive."""

    content: bytes = field(repr=False)
    mode: int = 0o600


def pack(members: Mapping[str, Member]) -> bytes:
    """Return an archive of the members; the same members give the same bytes."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, member in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(member.content), member.mode & _MODES
            archive.addfile(entry, io.BytesIO(member.content))
    return held.getvalue()


def unpack(packed: bytes) -> dict[str, Member]:
    """Return the members of an archive, read to its end.

    Raises ``BackupUnusable`` (``archive-unusable``) for anything but plain files of plain names, and past
    the caps: nothing is allocated for what a member merely says of its size.
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
                file = archive.extractfile(entry)
                content = file.read(entry.size) if file is not None else b""
                if len(content) != entry.size:
                    raise _unusable(f"{entry.name[:200]!r} is cut off")
                found[entry.name] = Member(content, entry.mode & _MODES)
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        raise _unusable(f"it is no archive: {type(error).__name__}") from None
    return found


def write_out(members: Mapping[str, Member], directory: Path) -> None:
    """Write the members below a directory that is there and empty. Raises ``OSError``."""
    for name, member in sorted(members.items()):
        path = directory / name
        for above in reversed(path.relative_to(directory).parents[:-1]):
            plain_files.own(directory / above, os.geteuid(), os.getegid())
        with plain_files.directory(path.parent) as above_it:
            handle = os.open(path.name, _NEW, member.mode & _MODES | 0o400, dir_fd=above_it)
        with os.fdopen(handle, "wb") as file:
            file.write(member.content)
            file.flush()
            os.fsync(handle)


def _what_is_wrong(entry: tarfile.TarInfo) -> str:
    if not entry.isreg() or entry.issparse():
        return "it is no plain file"
    parts = entry.name.split("/")
    if len(entry.name) > _LONGEST or len(parts) > _DEEPEST:
        return "its name is too long"
    if any(part in {".", ".."} or _NAME.fullmatch(part) is None for part in parts):
        return "its name could lead elsewhere"
    try:
        tarfile.data_filter(entry, "/nowhere")
    except tarfile.FilterError as error:
        return f"it is refused: {type(error).__name__}"
    return ""


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(f"the archive of the configuration: {what}", code="archive-unusable")
