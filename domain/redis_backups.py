"""What is known of Redis' files: their names, which server may load them, how a key is spelled. Pure."""

import re
from collections.abc import Iterable

from domain.errors import Refused
from domain.order import Value
from domain.paths import one_part

STORE = "redis"
RDB = "rdb"
AOF = "aof"
SNAPSHOT = "dump.rdb"
"""The file of a backup of kind ``rdb``."""
MANIFEST = ".manifest"
AOF_SINCE = (7, 0)
"""The first version that keeps the append-only file as a directory."""
_HEX = "hex:"
_VERSION = re.compile(r"(\d+)\.(\d+)")
_FEW = 1000
"""So many keys may come anew while an almost empty server is copied."""
_TORN = re.compile(r"(?:^|/)[^/]+\.aof$")


class RedisFiles(Value):
    """Where a server keeps its files, by the names of its own settings."""

    directory: str = "/data"
    snapshot: str = SNAPSHOT
    aof_directory: str = "appendonlydir"
    aof_name: str = "appendonly.aof"
    append_only: bool = False

    @property
    def manifest(self) -> str:
        """Return the name of the file that lists the append-only files, in their directory."""
        return f"{self.aof_name}{MANIFEST}"

    def checked(self) -> "RedisFiles":
        """Return it when the names are names; raise ``Refused`` (``path-escapes``) if they lead elsewhere."""
        for name in (self.snapshot, self.aof_directory, self.aof_name):
            one_part(name, "a file name in the settings of Redis")
        return self


class Census(Value):
    """What a server that goes on working said of its keys at one moment."""

    keys: int
    done: int
    """Commands, and keys that went by themselves, since it was started."""


def count_limitation(before: Census, after: Census, held: int) -> str | None:
    """Return why a copy that holds so many keys cannot be one of that server, or ``None``.

    Each command may have removed or made a key in between. However many there were, a copy with less than
    half of the keys, or with more than twice as many, is not believed.
    """
    least, most = sorted((before.keys, after.keys))
    # A server that was started meanwhile counts from zero again.
    done = after.done - before.done if after.done >= before.done else least + most
    fewest, largest = least - min(done, least // 2), most + min(done, max(most, _FEW))
    if fewest <= held <= largest:
        return None
    there = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"it holds {held:,} keys, and the server has {there}"


def version_of(text: str) -> tuple[int, int] | None:
    """Return major and minor version, or ``None`` when the text names none."""
    found = _VERSION.search(text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def version_limitation(backup: str, server: str) -> str | None:
    """Return why a server of one version cannot load a backup of another, or ``None``."""
    made, loads = version_of(backup), version_of(server)
    if loads is None:
        return "the version of the server's image is not known"
    if made is not None and made > loads:
        return f"it was taken from Redis {backup}, and Redis {server} does not load what a newer one wrote"
    return None


def aof_limitation(paths: Iterable[str]) -> str | None:
    """Return why files are no whole append-only directory, or ``None``.

    Since Redis 7 it is a directory with a manifest. A single ``appendonly.aof`` is what older ones
    wrote; put beside a manifest it is ignored without a word (F-J2).
    """
    names = sorted(paths)
    manifests = [name for name in names if name.endswith(MANIFEST)]
    if not manifests:
        single = [name for name in names if _TORN.search(name)]
        what = f"{single[0]} alone is" if single else "its files are"
        return f"{what} no append-only directory: the manifest is missing, without which Redis 7 ignores it"
    if len(manifests) > 1:
        return f"it has {len(manifests)} manifests"
    return None


def manifest_limitation(text: str, there: Iterable[str]) -> str | None:
    """Return why a manifest does not describe the files beside it, or ``None``."""
    files, listed = set(there), manifest_files(text)
    missing = [name for name, _ in listed if name not in files]
    if missing:
        return f"the manifest lists {missing[0]}, which is not there"
    if not any(kind in {"b", "i"} for _, kind in listed):
        return "the manifest lists no file"
    return None


def manifest_files(text: str) -> tuple[tuple[str, str], ...]:
    """Return name and type (``b`` base, ``i`` increment, ``h`` history) of each file in a manifest."""
    found = []
    for line in text.splitlines():
        words = line.split()
        said = dict(zip(words[::2], words[1::2], strict=False))
        if "file" in said and "type" in said:
            found.append((said["file"], said["type"]))
    return tuple(found)


def spelled(key: bytes) -> str:
    """Return a key as text from which ``key_of`` makes the very key again."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return _HEX + key.hex()
    return text if text.isprintable() and not text.startswith(_HEX) else _HEX + key.hex()


def key_of(name: str) -> bytes:
    """Return the key that was spelled so."""
    return bytes.fromhex(name.removeprefix(_HEX)) if name.startswith(_HEX) else name.encode()


def refuse(reason: str | None, entry_id: str, code: str) -> None:
    """Raise ``Refused`` when there is a reason why a backup cannot be restored here."""
    if reason is not None:
        raise Refused(
            f"backup {entry_id} cannot be restored: {reason}",
            where=entry_id,
            hint="nothing was stopped or changed; `dr backup list` shows the others",
            code=code,
        )
