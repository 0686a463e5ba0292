"""Short jobs on the files of Redis, in containers of the server's own image without network."""

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from activities import plain_files
from activities.engine import ContainerState, Engine, Job
from activities.offsite_progress import Progress
from activities.reading import Reading
from activities.room import no_room
from domain.errors import Refused, Unavailable
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_ROLE, LABEL_STACK
from domain.order import ServiceTarget, Target
from domain.paths import host_path
from domain.redis_backups import RedisFiles

CHANGED = 33
"""The append-only files were rewritten while they were copied."""
_MISSING = 30
_LIMIT_SECONDS = 24 * 3600.0
_CTIME = re.compile(r"AUX FIELD ctime = '(\d+)'")
_VERSION = re.compile(r"\bv=([0-9][0-9.]*)")
# $1 file, $2 its name in the backup, $3 whose it becomes, $4 the data directory.
_COPY_SNAPSHOT = """
[ -f "$4/$1" ] && [ ! -L "$4/$1" ] || exit 30
rm -f "/to/$2" && cp "$4/$1" "/to/$2" && chown "$3" "/to/$2" && chmod 600 "/to/$2"
"""
# $1 directory, $2 manifest, $3 whose it becomes, $4 the data directory. The manifest comes first and is
# looked at again last: it changes whenever a rewrite begins or ends. History files are of no use to anybody.
_COPY_AOF = """
[ ! -L "$4/$1" ] && cd "$4/$1" || exit 30
[ -f "$2" ] && [ ! -L "$2" ] || exit 30
rm -rf "/to/$1" && mkdir "/to/$1" && cp "$2" "/to/$1/.seen" || exit 31
while read -r word file rest; do
    case $word:$rest in "file:"*"type h"*) continue ;; "file:"*) ;; *) continue ;; esac
    case $file in */* | .* | "") exit 32 ;; esac
    [ -f "$file" ] && [ ! -L "$file" ] || exit 33
    cp "$file" "/to/$1/$file" || exit 31
done <"/to/$1/.seen"
cmp -s "$2" "/to/$1/.seen" || exit 33
grep -v "type h" "/to/$1/.seen" >"/to/$1/$2" && rm "/to/$1/.seen" || exit 31
chown -R "$3" "/to/$1" && chmod 700 "/to/$1" && chmod 600 "/to/$1"/*
"""
# The program opens what it reads for writing, so that it gets a copy and not the backup.
_CHECK_AOF = """
mkdir /tmp/check && cp -R "/from/$1" /tmp/check/ && exec redis-check-aof "/tmp/check/$1/$2"
"""


@dataclass(frozen=True)
class Place:
    """Where a server's data directory is: a mount of its container, and the way inside that."""

    source: str
    """Name of a volume, or a directory of the host."""
    inside: str
    """Relative to the mount; empty when it is the mount itself."""
    is_volume: bool
    mounted_at: str = "/data"

    def below(self, root: str) -> str:
        """Return where the data directory is when the mount is at ``root``."""
        return posixpath.join(root, self.inside) if self.inside else root


def proven(engine: Engine, target: Target, service: ServiceTarget) -> ContainerState:
    """Return the service's container when it is the one that was resolved; else ``Refused``."""
    found = engine.look(service.container_id)
    reason = "it is gone" if found is None else ""
    if found is not None and found.labels.get(COMPOSE_PROJECT) != target.project:
        reason = f"its project is {found.labels.get(COMPOSE_PROJECT)!r}"
    elif found is not None and found.labels.get(COMPOSE_SERVICE, service.name) != service.name:
        reason = f"its service is {found.labels.get(COMPOSE_SERVICE)!r}"
    elif found is not None and found.image_id != service.image_id:
        reason = "it has another image"
    if found is None or reason:
        raise Refused(
            f"{service.container_name} is not the container that was resolved: {reason}",
            where=service.container_id[:12],
            hint="start again, so that the targets are resolved anew",
            code="target-changed",
        )
    return found


def place_of(container: ContainerState, directory: str) -> Place:
    """Return the mount that holds a directory. Raises ``Refused`` (``data-not-mounted``) when none does."""
    wanted = posixpath.normpath(directory)
    mounts = sorted(container.raw.get("Mounts") or [], key=lambda one: -len(str(one["Destination"])))
    for mount in mounts:
        inside = posixpath.relpath(wanted, str(mount["Destination"]))
        if mount.get("Type") in {"volume", "bind"} and not inside.startswith(".."):
            is_volume = mount["Type"] == "volume"
            source = str(mount["Name"] if is_volume else host_path(str(mount["Source"]), "the data of Redis"))
            return Place(source, "" if inside == "." else inside, is_volume, str(mount["Destination"]))
    raise Refused(
        f"the data directory {wanted} of Redis is in no volume of its container",
        where=container.name,
        hint="keep it in a volume: what is in the container alone is lost with it",
        code="data-not-mounted",
    )


class RedisJobs:
    """The jobs on the files of one stack's Redis."""

    def __init__(self, engine: Engine, target: Target, service: ServiceTarget, purpose: str) -> None:
        """Run them in the image of ``service``; those of another ``purpose`` may run at the same time."""
        self._engine = engine
        self._service = service
        self._name = f"dr-{target.stack}-{service.name}-{purpose}"
        self.labels = {LABEL_STACK: target.stack, LABEL_ROLE: f"redis-{purpose}"}

    def clear(self) -> None:
        """Remove the jobs of an attempt that ended in the middle."""
        for job in self._engine.labelled(*(f"{key}={value}" for key, value in self.labels.items())):
            self._engine.remove(job.id, force=True)

    def copy_snapshot(
        self, place: Place, files: RedisFiles, partial: Path, name: str, expected: int = 0
    ) -> None:
        """Copy the snapshot file, as a whole: a server replaces it by a rename."""
        code, said = self._copy(_COPY_SNAPSHOT, place, partial, expected, files.snapshot, name)
        if code != 0:
            raise self._not_copied(files.snapshot, code, said)

    def copy_append_only(self, place: Place, files: RedisFiles, partial: Path, expected: int = 0) -> bool:
        """Copy the directory of append-only files; tell whether nobody rewrote them meanwhile."""
        code, said = self._copy(_COPY_AOF, place, partial, expected, files.aof_directory, files.manifest)
        if code not in {0, CHANGED}:
            raise self._not_copied(files.aof_directory, code, said)
        return code == 0

    def check_snapshot(self, directory: Path, name: str) -> tuple[str, int | None]:
        """Have ``redis-check-rdb`` read a snapshot; return its complaint, if any, and when it was begun."""
        code, said = self._read("check-rdb", ("redis-check-rdb", f"/from/{name}"), directory)
        found = _CTIME.search(said)
        good = code == 0 and "RDB looks OK" in said
        return "" if good else _complaint(said, code), int(found.group(1)) if found else None

    def check_append_only(self, directory: Path, files: RedisFiles) -> str:
        """Have ``redis-check-aof`` read append-only files by their manifest; return its complaint, if any."""
        asked = ("sh", "-c", _CHECK_AOF, "dr", files.aof_directory, files.manifest)
        code, said = self._read("check-aof", asked, directory)
        if "No space left" in said:
            raise no_room(f"no room to check a copy of {files.aof_directory}", self._engine.root())
        return "" if code == 0 and "is valid" in said else _complaint(said, code)

    def owner(self, place: Place) -> tuple[int, int]:
        """Return user and group of the data directory."""
        asked = ("stat", "-c", "owner=%u:%g", place.below("/volume"))
        code, said = self._run("owner", asked, {place.source: "/volume:ro"}, user="0:0")
        found = re.search(r"owner=(\d+):(\d+)", said)
        if code != 0 or found is None:
            raise Unavailable(f"the data of Redis cannot be seen: {said[-200:]}", code="redis-copy")
        return int(found.group(1)), int(found.group(2))

    def version(self) -> str:
        """Return the version of the server in the image."""
        code, said = self._run("version", ("redis-server", "--version"), {}, user="65534:65534")
        found = _VERSION.search(said)
        if code != 0 or found is None:
            raise Unavailable(
                "the image does not say which Redis it has", where=self._service.image, code="redis-image"
            )
        return found.group(1)

    def _copy(self, script: str, place: Place, partial: Path, expected: int, *words: str) -> tuple[int, str]:
        whose = partial.lstat()
        progress = Progress(f"copying {words[0]}", expected or None, about=True)
        source = {place.source: "/volume:ro", **_mounted(partial, "/to:rw")}
        return self._run(
            "copy",
            ("sh", "-c", script, "dr", *words,
             f"{whose.st_uid}:{whose.st_gid}", place.below("/volume")),
            source,
            user="0:0",
            capabilities=("DAC_OVERRIDE", "CHOWN", "FOWNER"),
            tell=lambda _: progress.tell(size_of(partial)),
        )  # fmt: skip

    def _read(self, what: str, command: tuple[str, ...], directory: Path) -> tuple[int, str]:
        whose = directory.lstat()
        user = f"{whose.st_uid}:{whose.st_gid}"
        # A check of append-only files reads a copy that it makes first.
        due = size_of(directory) * (1 if what == "check-rdb" else 2)
        reading = Reading(self._engine, f"{self._name}-{what}", f"{what} reads the backup", due)
        return self._run(what, command, _mounted(directory, "/from:ro"), user=user, tell=reading)

    def _run(
        self,
        what: str,
        command: tuple[str, ...],
        binds: Mapping[str, str],
        *,
        user: str,
        capabilities: tuple[str, ...] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> tuple[int, str]:
        job = Job(
            name=f"{self._name}-{what}",
            image_id=self._service.image_id,
            entrypoint=command[:1],
            command=command[1:],
            user=user,
            binds=binds,
            labels=self.labels,
            capabilities=capabilities,
        )
        # The answer of an earlier attempt may be stale.
        self._engine.remove(job.name, force=True)
        state, log, _ = self._engine.follow(job, tell, limit_seconds=_LIMIT_SECONDS)
        self._engine.remove(state.id, force=True)
        return state.exit_code or 0, log

    def _not_copied(self, what: str, code: int, said: str) -> Refused | Unavailable:
        if "No space left" in said:
            return no_room(f"the disk is full: {what} could not be copied", "the shelf")
        why = (
            "it is not there, or no plain file"
            if code == _MISSING
            else said.strip()[-200:] or f"status {code}"
        )
        return Unavailable(
            f"{what} of Redis could not be copied: {why}",
            where=self._service.container_name,
            code="redis-copy",
        )


def last_warnings(log: Iterable[str]) -> str:
    """Return what a server's log complains of at its end: lines marked as warnings, the newest last."""
    marked = [line.partition(" # ")[2].strip() for line in log if " # " in line]
    return "; ".join(dict.fromkeys(marked[-3:]))


def _mounted(directory: Path, inside: str) -> dict[str, str]:
    path = host_path(str(directory), "a directory of the shelf")
    try:
        with plain_files.directory(directory):
            return {path: inside}
    except OSError as error:
        raise Refused(
            f"the shelf cannot be mounted: {error.strerror}", where=path, code="shelf-unusable"
        ) from None


def _complaint(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"(?i)err|0x|corrupt|not valid|expected|unexpected", line)]
    return (wrong or lines or [f"status {code}"])[-1]


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory, in which a job may work at the moment."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += Path(folder, name).lstat().st_size
    return total
