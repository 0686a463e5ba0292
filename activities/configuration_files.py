"""Collects the files of a project: those that its labels and Compose files name, or that are mounted from it.

What lies below the project's working directory is read, what a label names, and what a service mounts to be
read. A link is taken along with what it leads to as long as it stays below that directory, or below what is
mounted; no other one is followed.
"""

import os
import posixpath
import stat
from pathlib import Path

from activities import plain_files
from activities.configuration_archive import Member, link_limitation, name_limitation
from domain.backups import spoken_bytes
from domain.configuration import OUTSIDE, PROJECT, KeptFile
from domain.configuration_links import Way, followed
from domain.configuration_references import references_in
from domain.errors import Refused
from domain.host_own import host_has, named_by, plain_path
from domain.inert import visible

_FILE_BYTES = 4 * 1024 * 1024
_TOTAL_BYTES = 32 * 1024 * 1024
_DIRECTORY_FILES = 500
_DIRECTORY_BYTES = 8 * 1024 * 1024
_COMPOSE_FILES = 100
_NESTED = 20
_LINK_MODE = 0o755
_HINT = (
    "put it under the project's directory, or name it under backup.provided_by_host of the stack file"
    " where the host has to provide it"
)


class Collected:
    """The files found so far, and what could not be taken along."""

    def __init__(self, working_dir: str, provided: tuple[str, ...] = ()) -> None:
        """``working_dir`` is the project's, as its label says; empty when none says so.

        ``provided`` is what the host has to provide, as the stack file says: it is not kept.
        """
        self._provided = provided
        self.working_dir = posixpath.normpath(working_dir) if working_dir.startswith("/") else ""
        self.members: dict[str, Member] = {}
        self.files: dict[str, KeptFile] = {}
        self.lacks: list[str] = []
        self.left_out: list[str] = []
        self._mounts: list[str] = []
        """What is mounted from outside the working directory and taken along."""
        self._bytes = 0
        self._known: dict[str, list[str]] = {}
        """What became of each path that was asked for."""
        self._why: dict[str, str] = {}
        """Why a path could not be kept."""
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

    def take_mounted(self, path: str, *, writable: bool, by: str = "") -> list[str]:
        """Take along what a service mounts; return the members. ``by`` tells which service, and where.

        A directory of more than a configuration has is left out: where the service writes, that is data. So
        is a directory outside the working directory that it writes to, and what the host has by itself.
        """
        if self.inside(path):
            return self._mounted(path, writable=writable)
        path, before = plain_path(path), len(self.lacks)
        said = f"{visible(path)}{f' ({by})' if by else ''} lies outside the working directory"
        not_ours = self._why_not_ours(path, writable=writable)
        if not_ours:
            self.left_out.append(f"{said}: {not_ours}")
            return []
        self._mounts.append(path)
        found = self._mounted(path, writable=False)
        if len(self.lacks) > before:
            # However many of its files: it is one mount that somebody has to look after.
            self.lacks[before:] = [f"{said}: {self.lacks[before]}; {_HINT}"]
        return found

    def _why_not_ours(self, path: str, *, writable: bool) -> str:
        """Return why what lies outside is no configuration, or nothing."""
        if named_by(path, self._provided):
            return "the host provides it, as the stack file says"
        if host_has(path) or _is_socket(path):
            return "it is the host's own"
        return "the service writes there, so it is data" if writable and _is_data(path) else ""

    def _mounted(self, path: str, *, writable: bool) -> list[str]:
        try:
            way = self._way(path)
            if not Path(way.end).is_dir():
                return self._taken(path)
            names = self._below(way.end)
        except (OSError, ValueError) as error:
            self._lacks(path, error)
            return []
        if names is None:
            said = f"{path} holds more than a configuration"
            (self.left_out if writable else self.lacks).append(said)
            return []
        files = [name for name in names if not _is_socket(name)]
        if not files and names:
            self.left_out.append(f"{path} holds sockets alone")
        elif not files and not writable:
            self.lacks.append(f"{path} holds nothing, and is mounted to be read")
        found = [member for name in files for member in self._taken(name)]
        return list(dict.fromkeys([*self._linked(way), *found])) if found else []

    def _taken(self, path: str, *, needed: bool = True) -> list[str]:
        """Take along what a path leads to, and the links on the way; return the members, the file last."""
        path = posixpath.normpath(path)
        if path in self._known or path in self._open:
            if path in self._why and not self.inside(path):
                self.lacks.append(self._why[path])  # another service misses it too
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
        root = self._root_of(path)
        way = followed(path, root, _text_of) if root else Way(path)
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
        self._why[path] = f"{visible(path)} cannot be kept: {getattr(error, 'strerror', None) or error}"
        self.lacks.append(self._why[path])

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
        """Return the files below a directory, links too; ``None`` for too many. Raises ``OSError``."""
        found: list[str] = []
        size = passed = 0
        for folder, folders, files in os.walk(path, onerror=_raise):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            passed += len(folders)
            if max(passed, len(found) + len(files)) > _DIRECTORY_FILES:
                return None
            for name in (*links, *files):
                here = Path(folder, name)
                size += here.lstat().st_size
                found.append(str(here))
            if size > _DIRECTORY_BYTES:
                return None
        return sorted(found)

    def _root_of(self, path: str) -> str:
        """Return below what a path has to stay: the working directory, or what is mounted from outside."""
        if self.inside(path):
            return self.working_dir
        return min((one for one in self._mounts if named_by(path, (one,))), key=len, default="")

    def _member_of(self, path: str) -> str:
        if self.inside(path):
            return f"{PROJECT}/{posixpath.relpath(path, self.working_dir)}"
        return f"{OUTSIDE}{posixpath.normpath(path)}"


def _raise(error: OSError) -> None:
    raise error  # else a directory that cannot be read would be one that holds nothing


def _is_socket(path: str) -> bool:
    """Tell whether a program makes it, and nobody keeps it."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_data(path: str) -> bool:
    """Tell whether what a service writes to is no single file of a configuration."""
    try:
        found = os.stat(path)  # noqa: PTH116 - what Docker mounts there
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(found.st_mode) or found.st_size > _FILE_BYTES


def _text_of(path: str) -> str | None:
    """Return what a link says, ``None`` for what is no link. Raises ``OSError`` for what is not there."""
    if not stat.S_ISLNK(os.lstat(path).st_mode):
        return None
    return os.readlink(path)  # noqa: PTH115 - as it is spelled
