"""Collects the files of a project: those that its labels and Compose files name, or that are mounted from it.

Only what lies below the project's working directory, or what a label names, is read. A link is taken along
with what it leads to as long as it stays below that directory; no other one is followed.
"""

import hashlib
import os
import posixpath
import stat
from pathlib import Path

from activities import plain_files
from activities.configuration_archive import Member, link_limitation, name_limitation
from domain.backups import spoken_bytes
from domain.configuration import PROJECT, KeptFile
from domain.configuration_links import Way, followed
from domain.configuration_references import references_in
from domain.errors import Refused
from domain.inert import visible

_FILE_BYTES = 4 * 1024 * 1024
_TOTAL_BYTES = 32 * 1024 * 1024
_DIRECTORY_FILES = 500
_DIRECTORY_BYTES = 8 * 1024 * 1024
_COMPOSE_FILES = 100
_NESTED = 20
_LINK_MODE = 0o755


class Collected:
    """The files found so far, and what could not be taken along."""

    def __init__(self, working_dir: str) -> None:
        """``working_dir`` is the project's, as its label says; empty when none says so."""
        self.working_dir = posixpath.normpath(working_dir) if working_dir.startswith("/") else ""
        self.members: dict[str, Member] = {}
        self.files: dict[str, KeptFile] = {}
        self.lacks: list[str] = []
        self.left_out: list[str] = []
        self._bytes = 0
        self._known: dict[str, list[str]] = {}
        """What became of each path that was asked for."""
        self._open: list[str] = []
        """The links to directories that are being followed, one inside the other."""

    def inside(self, path: str) -> bool:
        """Tell whether a path lies below the working directory."""
        return bool(self.working_dir) and f"{posixpath.normpath(path)}/".startswith(f"{self.working_dir}/")

    def take(self, path: str, *, needed: bool = True) -> str:
        """Take a file along and return its member; an empty text, and a lack, when it cannot be."""
        found = self._taken(path, needed=needed)
        return found[-1] if found else ""

    def take_compose(self, path: str) -> str:
        """Take a Compose file along with everything that it names below the working directory."""
        member = self.take(path)
        # What the project's own files name is relative to its directory, else to the file that names it.
        base = self.working_dir or posixpath.dirname(path)
        waiting, seen = [(path, member, base)], {posixpath.normpath(path)}
        while waiting and len(seen) < _COMPOSE_FILES:
            for found in self._referenced(*waiting.pop()):
                if found not in seen:
                    seen.add(found)
                    waiting.append((found, self.take(found), posixpath.dirname(found)))
        return member

    def take_mounted(self, path: str, *, writable: bool) -> list[str]:
        """Take along what is mounted from below the working directory; return the members.

        A directory of more than a configuration has is left out: where the service writes, that is data.
        """
        if not self.inside(path):
            self.left_out.append(f"{path} lies outside the working directory")
            return []
        try:
            way = self._way(path)
        except (OSError, ValueError) as error:
            self._lacks(path, error)
            return []
        if not Path(way.end).is_dir():
            return self._taken(path)
        names = self._below(way.end)
        if names is None:
            said = f"{path} holds more than a configuration"
            (self.left_out if writable else self.lacks).append(said)
            return []
        if not names and not writable:
            self.lacks.append(f"{path} holds nothing, and is mounted to be read")
        found = [member for name in names for member in self._taken(name)]
        return list(dict.fromkeys([*self._linked(way), *found])) if found else []

    def _taken(self, path: str, *, needed: bool = True) -> list[str]:
        """Take along what a path leads to, and the links on the way; return the members, the file last."""
        path = posixpath.normpath(path)
        if path in self._known or path in self._open:
            return self._known.get(path, [])
        self._open.append(path)
        try:
            way = self._way(path)
            ends = self._ends(way) if way.links and Path(way.end).is_dir() else [self._file(way.end)]
            found = [*self._linked(way), *ends]
        except (OSError, ValueError) as error:
            if not needed:
                return []
            self._lacks(path, error)
            found = []
        finally:
            self._open.pop()
        self._known[path] = found
        return found

    def _way(self, path: str) -> Way:
        """Return where a path leads; ``ValueError`` for a link that leads out, ``OSError``."""
        way = followed(path, self.working_dir, _text_of) if self.inside(path) else Way(path)
        for link, text in way.links:
            wrong = name_limitation(self._member_of(link)) or link_limitation(text)
            if wrong:
                raise ValueError(wrong)
        return way

    def _ends(self, way: Way) -> list[str]:
        """Take along what lies in a directory that a link leads to."""
        names = self._below(way.end) if len(self._open) <= _NESTED else None
        if names is None:
            raise ValueError("it leads to a directory that holds more than a configuration")
        found = [member for name in names for member in self._taken(name)]
        if not found:
            raise ValueError("it leads to a directory of which nothing was kept")
        return found

    def _file(self, path: str) -> str:
        """Take one file along, on whose way there is no link. Raises ``OSError``, ``ValueError``."""
        if path in self.files:
            return self.files[path].member
        member = self._member_of(path)
        wrong = name_limitation(member)
        if wrong:
            raise ValueError(wrong)
        content = plain_files.read(Path(path), _FILE_BYTES)
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if self._bytes + len(content) > _TOTAL_BYTES:
            raise ValueError(f"more than {spoken_bytes(_TOTAL_BYTES)} in all")
        self._bytes += len(content)
        self.members[member] = Member(content, mode)
        self.files[path] = KeptFile(member=member, path=path, mode=mode)
        return member

    def _linked(self, way: Way) -> list[str]:
        """Take the links of a way along, whose end is kept already; return their members."""
        for link, text in way.links:
            member = self._member_of(link)
            self.members[member] = Member(text.encode(), _LINK_MODE, is_link=True)
            self.files[link] = KeptFile(member=member, path=link, mode=_LINK_MODE, link=text)
        return [self._member_of(link) for link, _ in way.links]

    def _lacks(self, path: str, error: OSError | ValueError) -> None:
        self.lacks.append(f"{visible(path)} cannot be kept: {getattr(error, 'strerror', None) or error}")

    def _referenced(self, path: str, member: str, base: str) -> list[str]:
        """Take along what a Compose file names; return the Compose files among it."""
        if not member:
            return []
        try:
            named = references_in(self.members[member].content.decode())
        except (Refused, UnicodeDecodeError) as error:
            self.lacks.append(f"{path}: {error.what if isinstance(error, Refused) else 'it is no text'}")
            return []
        others = []
        for one in named:
            where = posixpath.normpath(posixpath.join(base, one.path))
            if "$" in one.path or "://" in one.path:
                continue  # a variable or another host: Compose itself says whether it resolves
            if not self.inside(where):
                self.lacks.append(f"{where} is named by {path} and lies outside the working directory")
            elif one.compose:
                others.append(where)
            else:
                self.take(where, needed=one.required)
        return others

    def _below(self, path: str) -> list[str] | None:
        """Return the files below a directory, links too; ``None`` when there are too many."""
        found, size = [], 0
        for folder, folders, files in os.walk(path):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in (*links, *files):
                here = Path(folder, name)
                size += here.lstat().st_size
                found.append(str(here))
            if len(found) > _DIRECTORY_FILES or size > _DIRECTORY_BYTES:
                return None
        return sorted(found)

    def _member_of(self, path: str) -> str:
        if self.inside(path):
            return f"{PROJECT}/{posixpath.relpath(path, self.working_dir)}"
        short = hashlib.sha256(path.encode()).hexdigest()[:8]
        return f"outside/{short}-{posixpath.basename(path)}"


def _text_of(path: str) -> str | None:
    """Return what a link says, ``None`` for what is no link. Raises ``OSError`` for what is not there."""
    if not stat.S_ISLNK(os.lstat(path).st_mode):
        return None
    return os.readlink(path)  # noqa: PTH115 - as it is spelled
