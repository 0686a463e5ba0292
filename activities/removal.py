"""Removes a directory of the shelf so that a crash leaves it whole or gone, never half and believed.

It is set aside as ``.gone-<id>`` while it is whole and may come back, and renamed to ``.erasing-<id>`` before
the first file goes; its entry goes last, which says until the end whose it was. No link is followed: every
directory is opened from the handle of the one above.
"""

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path

from activities import plain_files
from activities.entries import GONE
from activities.pulse import beat
from domain.entries import ENTRY
from domain.paths import is_part

_ERASING = ".erasing-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY_LIMIT_BYTES = 64 * 1024 * 1024
_DEEPEST = 100


def set_aside(place: Path, name: str) -> None:
    """Give a directory the name under which nobody takes it for a backup. Raises ``OSError``."""
    _rename(place, name, f"{GONE}{name}")


def put_back(place: Path, name: str) -> None:
    """Give a directory that was set aside its name again, unless another one has it. Raises ``OSError``."""
    try:
        _rename(place, f"{GONE}{name}", name)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise


def set_aside_in(place: Path) -> list[str]:
    """Return what was set aside here and is whole: its entry is that of a backup of the name."""
    return [name for name in _named(place, GONE) if _entry_id(place / f"{GONE}{name}") == name]


def half_erased_in(place: Path) -> list[str]:
    """Return what we began to erase here: its entry is still there, or nothing is left in it."""
    return [name for name in _named(place, _ERASING) if _entry_id(place / f"{_ERASING}{name}") in {name, ""}]


def erase(place: Path, name: str) -> int:
    """Delete what was set aside or half erased; return the bytes of its files. Raises ``OSError``."""
    with suppress(FileNotFoundError):
        _rename(place, f"{GONE}{name}", f"{_ERASING}{name}")
    with plain_files.directory(place) as above:
        freed = _erase(f"{_ERASING}{name}", above, depth=0)
        os.fsync(above)
    return freed


def _rename(place: Path, old: str, new: str) -> None:
    with plain_files.directory(place) as above:
        if not stat.S_ISDIR(os.stat(old, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ENOTDIR, "it is no directory", old)
        os.rename(old, new, src_dir_fd=above, dst_dir_fd=above)
        os.fsync(above)


def _named(place: Path, prefix: str) -> list[str]:
    rests = [one.removeprefix(prefix) for one in plain_files.names_at(place) if one.startswith(prefix)]
    return [name for name in rests if is_part(name)]


def _entry_id(path: Path) -> str | None:
    """Return whose the directory is, ``""`` when it is empty, and ``None`` when nothing says so."""
    try:
        with plain_files.directory(path) as handle:
            if not plain_files.names_in(handle):
                return ""
        entry = json.loads(plain_files.read(path / ENTRY, _ENTRY_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return str(entry["id"]) if isinstance(entry, dict) and "id" in entry else None


def _erase(name: str, above: int, *, depth: int) -> int:
    if depth > _DEEPEST:
        raise OSError(errno.ELOOP, "it is nested without end", name)
    freed = 0
    handle = os.open(name, _DIRECTORY, dir_fd=above)
    try:
        for inner in sorted(plain_files.names_in(handle), key=lambda one: one == ENTRY):
            found = os.stat(inner, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                freed += _erase(inner, handle, depth=depth + 1)
                continue
            if inner == ENTRY:
                # On the disk too the entry is the last to go.
                os.fsync(handle)
            os.unlink(inner, dir_fd=handle)
            freed += found.st_size
    finally:
        os.close(handle)
    os.rmdir(name, dir_fd=above)
    beat(f"{freed / 1e6:,.0f} MB removed below {name}")
    return freed
