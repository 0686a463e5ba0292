"""What a server of Redis is told by its arguments and its configuration file, read as it reads them. Pure.

Only what decides where its files are is kept, and whether it wants a password; the password itself never is.
"""

import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from domain.redis_backups import RedisFiles

_LONGEST_LINE = 16 * 1024
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|\'((?:\\\'|[^\'])*)\'|([^\s"\']+))(?=\s|$)', re.DOTALL)
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NOT_SAID = re.compile(r"[$`]")
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}
INCLUDE = "include"
"""The setting that stands for all those of another file."""
_KEPT = {"dir", "dbfilename", "appenddirname", "appendfilename", "appendonly", "requirepass"}


@dataclass
class Settings:
    """What was said so far; what is said later counts."""

    said: dict[str, str] = field(default_factory=dict, repr=False)

    def take(self, name: str, values: Sequence[str]) -> None:
        """Take over one setting, if it matters here. Raises ``ValueError`` where only a shell knows it."""
        if name in _KEPT and values:
            if _NOT_SAID.search(values[0]) and name != "requirepass":
                raise ValueError(f"{name} is only known to a shell")
            self.said[name] = values[0] if name != "requirepass" else str(bool(values[0]))

    @property
    def wants_password(self) -> bool:
        """Tell whether it lets nobody in without a password."""
        return self.said.get("requirepass") == str(True)

    def files(self, working_dir: str) -> RedisFiles:
        """Return where its files are; relative to where it was started. ``Refused`` (``path-escapes``)."""
        usual = RedisFiles()
        started = working_dir or usual.directory
        return RedisFiles(
            directory=posixpath.normpath(posixpath.join(started, self.said.get("dir", "."))),
            snapshot=self.said.get("dbfilename", usual.snapshot),
            aof_directory=self.said.get("appenddirname", usual.aof_directory),
            aof_name=self.said.get("appendfilename", usual.aof_name),
            append_only=self.said.get("appendonly", "no").lower() == "yes",
        ).checked()


def spread(words: Iterable[str]) -> list[str]:
    """Return the words of a command; what one word holds for a shell is split, and nothing is carried out.

    Raises ``ValueError`` for quotes that are not closed.
    """
    found: list[str] = []
    for word in words:
        found += shlex.split(word) if "redis-server " in word else [word]
    return found


def file_in(words: Sequence[str]) -> str:
    """Return the configuration file that a command names, or nothing."""
    for place, word in enumerate(words):
        if posixpath.basename(word) == "redis-server":
            after = words[place + 1] if place + 1 < len(words) else ""
            return "" if after.startswith("-") else after
    # As the image's own script has it: a first word that ends so is the file.
    return next((word for word in words if word.endswith(".conf") and not word.startswith("-")), "")


def arguments_in(words: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the settings among the words of a command: ``--name`` with what follows it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            found.append((word.removeprefix("--").lower(), []))
        elif found:
            found[-1][1].append(word)
    return found


def lines_in(text: str) -> list[tuple[str, list[str]]]:
    """Return the settings of a configuration file in order, without what neither matters nor can be read.

    Raises ``ValueError`` for a line that matters and that Redis would not take.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        words = _words(stripped)
        if words:
            found.append((words[0].lower(), words[1:]))
        elif {word.lower() for word in stripped.split(None, 1)[:1]} & {*_KEPT, INCLUDE}:
            raise ValueError(f"line {number} is none that Redis would read")
    return found


def _words(line: str) -> list[str]:
    """Split a line as Redis does; nothing for quotes that are not closed."""
    words, at = [], 0
    while line[at:].strip():
        match = _WORD.match(line, at) if len(line) <= _LONGEST_LINE else None
        if match is None:
            return []
        double, single, bare = match.groups()
        if double is not None:
            words.append(_ESCAPED.sub(_unescaped, double))
        else:
            words.append(single.replace("\\'", "'") if single is not None else bare)
        at = match.end()
    return words


def _unescaped(found: re.Match[str]) -> str:
    said = found[1]
    if len(said) > 1:
        return chr(int(said[1:], 16))
    return _SHORT.get(said, said)
