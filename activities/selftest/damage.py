"""Damage to files of copies: the original is put aside, the damage is seen by reading, all is put back."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from activities import plain_files

_LIMIT_BYTES = 1024 * 1024 * 1024
_SHOWN = 12


class Damages:
    """Damages files below one directory of ours."""

    def __init__(self, aside: Path) -> None:
        """``aside`` takes the originals meanwhile; no check looks there."""
        self._aside = aside
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def gone(self, path: Path) -> Iterator[str]:
        """Take a file or a directory away."""
        with self._put_aside(path):
            yield "" if path.exists() else f"{path.name} is not there"

    @contextmanager
    def cut(self, path: Path, size: int) -> Iterator[str]:
        """Keep the first bytes of a file alone."""
        with self._put_aside(path) as original:
            with original.open("rb") as whole, path.open("wb") as file:
                left = size
                while left and (piece := whole.read(min(left, 1 << 20))):
                    file.write(piece)
                    left -= len(piece)
            _like(original, path)
            before, now = original.lstat().st_size, path.lstat().st_size
            yield f"{path.name} has {now:,} of {before:,} bytes" if now != before else ""

    @contextmanager
    def altered(self, path: Path, change: Callable[[bytes], bytes]) -> Iterator[str]:
        """Give a file other content."""
        with self._put_aside(path) as original:
            path.write_bytes(change(plain_files.read(original, _LIMIT_BYTES)))
            _like(original, path)
            yield _difference(original, path)

    @contextmanager
    def instead(self, path: Path, content: bytes) -> Iterator[str]:
        """Put another file in a file's place."""
        with self._put_aside(path) as original:
            path.write_bytes(content)
            _like(original, path)
            yield _difference(original, path)

    @contextmanager
    def flipped(self, path: Path) -> Iterator[str]:
        """Flip the bits of one byte in the middle of a file."""
        with self._put_aside(path) as original:
            shutil.copyfile(original, path)
            _like(original, path)
            place = path.lstat().st_size // 2
            with path.open("r+b") as file:
                before = os.pread(file.fileno(), 1, place)[0]
                os.pwrite(file.fileno(), bytes([before ^ 0xFF]), place)
            yield _difference(original, path)

    @contextmanager
    def added(self, path: Path, content: bytes) -> Iterator[str]:
        """Put a file where there is none."""
        plain_files.replace(path, content)
        try:
            yield f"{path.name} is there"
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def moved(self, path: Path, to: Path) -> Iterator[str]:
        """Give a file or a directory another name."""
        path.rename(to)
        try:
            yield f"{to.name} is there, {path.name} is not" if to.exists() and not path.exists() else ""
        finally:
            to.rename(path)

    @contextmanager
    def _put_aside(self, path: Path) -> Iterator[Path]:
        original = self._aside / secrets.token_hex(8)
        path.rename(original)
        try:
            yield original
        finally:
            path.unlink(missing_ok=True)
            original.rename(path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(original: Path, path: Path) -> str:
    before, now = sha256_of(original), sha256_of(path)
    said = f"SHA-256 of {path.name} is {now[:_SHOWN]}…, it was {before[:_SHOWN]}…"
    return said if before != now else ""


def _like(original: Path, path: Path) -> None:
    """Give a file the owner, the mode and the time of another: none of them may tell of the damage."""
    found = original.lstat()
    os.chown(path, found.st_uid, found.st_gid)
    path.chmod(found.st_mode & 0o777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
