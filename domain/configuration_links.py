"""Links in the files of a project: followed by their own text as long as they stay inside. Pure."""

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_MOST = 20
"""So many links one after the other; certbot makes one."""


@dataclass(frozen=True)
class Way:
    """Where a path ends, and the links that led there."""

    end: str
    links: tuple[tuple[str, str], ...] = ()
    """Path and text of each; no directory of such a path is a link itself."""


def followed(path: str, root: str, text_of: Callable[[str], str | None]) -> Way:
    """Follow the links on the way to a path below ``root``, as a kernel does.

    ``text_of`` returns what a link says, ``None`` for what is no link. Raises ``ValueError`` for a link that
    is absolute, leaves the root even for a moment, or leads in a circle; and what ``text_of`` raises.
    """
    waiting, here = posixpath.relpath(path, root).split("/"), root
    links: list[tuple[str, str]] = []
    while waiting:
        part = waiting.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            if here == root:
                raise _refused("it leads out of the project")
            here = posixpath.dirname(here)
            continue
        there = posixpath.join(here, part)
        text = text_of(there)
        if text is None:
            here = there
            continue
        if text.startswith("/"):
            raise _refused("it is absolute")
        if len(links) == _MOST:
            raise _refused("there is no end of links")
        links.append((there, text))
        waiting = text.split("/") + waiting
    return Way(here, tuple(links))


def what_is_loose(links: Mapping[str, str], files: Iterable[str], roots: tuple[str, ...]) -> str:
    """Return the first link of a set that ends at no file or directory of it below its root, or nothing.

    A name that passes through a link or a file is told as well: writing it would end elsewhere.
    """
    there = set(files)
    directories = {above for name in (*there, *links) for above in _above(name)}
    for name in sorted({*there, *links}):
        if any(above in links or above in there for above in _above(name)):
            return f"{name!r} lies below what is no directory"
    for name in sorted(links):
        root = next((one for one in roots if name.startswith(f"{one}/")), "")
        if not root:
            return f"the link {name!r} is no file of the project"
        try:
            end = followed(name, root, links.get).end
        except ValueError as error:
            return f"the link {name!r}: {error}"
        if end not in there and end not in directories:
            return f"the link {name!r} leads to nothing"
    return ""


def _above(name: str) -> Iterable[str]:
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _refused(why: str) -> ValueError:
    return ValueError(f"a symbolic link is not followed: {why}")
