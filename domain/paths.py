"""Names that become paths: what came from outside never leads out of the directory that it belongs into."""

import re
from pathlib import PurePosixPath

from domain.errors import Refused

# No sign of it means anything to a shell, to Docker's mounts or to an address; none begins an option.
_PART = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9_.+@=-]{0,199}")
_LONGEST = 1000


def is_part(name: str) -> bool:
    """Tell whether a name is fit to be one part of a path."""
    return _PART.fullmatch(name) is not None and ".." not in name


def one_part(name: str, of: str = "a name") -> str:
    """Return ``name`` when it is fit to be one part of a path; else raise ``Refused`` (``path-escapes``)."""
    if not is_part(name):
        raise _refused(f"{of} cannot be a file name", name)
    return name


def path_under(root: str | PurePosixPath, relative: str) -> PurePosixPath:
    """Return ``root/relative``; raise ``Refused`` (``path-escapes``) when that could lie elsewhere.

    It is judged by its words alone. Whether a link leads away is for the one who opens it
    (``activities.beneath``).
    """
    if not relative or len(relative) > _LONGEST:
        raise _refused("a path is empty or too long", relative)
    for part in relative.split("/"):
        one_part(part, "a part of the path")
    return PurePosixPath(root, relative)


def host_path(text: str, of: str) -> str:
    """Return an absolute host path that may be mounted; raise ``Refused`` (``path-escapes``) else.

    A colon would be read as the end of the path, and a ``..`` says that somebody means another place.
    """
    path = PurePosixPath(text)
    dull = text.isprintable() and not set(text) & set(":\\\"'`$*?;|&<>\n")
    winding = text.startswith("//") or ".." in path.parts
    if not path.is_absolute() or winding or not dull or len(text) > _LONGEST:
        raise _refused(f"{of} cannot be mounted", text)
    if path == PurePosixPath("/") or path.parts[1] in _SYSTEM:
        raise _refused(f"{of} is a directory of the system", text)
    return text


_SYSTEM = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"}


def _refused(what: str, given: str) -> Refused:
    return Refused(
        f"{what}: {given[:200]!r}",
        hint="letters, digits and _ . + @ = - inside the directory that it belongs into",
        code="path-escapes",
    )
