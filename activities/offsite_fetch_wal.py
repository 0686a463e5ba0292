"""Brings the archived WAL back that a fetched base backup needs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from activities import plain_files
from activities.bucket import FarObject
from activities.offsite_inflow import Inflow
from domain.backups import Backup
from domain.errors import BackupUnusable, Refused
from domain.offsite_copies import DIGEST, SEALED, WAL, FarManifest, context_of, place_of
from domain.trimming import untrimmed
from domain.wal import history_of, is_segment

_POSTGRES = "postgres"


@dataclass(frozen=True)
class _Wanted:
    """One file of the far archive that a recovery needs."""

    far: FarObject
    generation: str
    name: str


class WalFetching:
    """The far archive behind the start of one base backup."""

    def __init__(self, inflow: Inflow, manifest: FarManifest) -> None:
        """Look at what there is; nothing is fetched yet."""
        self._inflow = inflow
        backup = Backup.model_validate_json(manifest.entry)
        self._segment_bytes = backup.wal_segment_bytes
        archive = inflow.shelf / _POSTGRES / WAL
        self._archive = archive
        found = inflow.bucket.listed(f"{inflow.root}{_POSTGRES}/{WAL}/")
        self._due = [one for one in map(self._wanted, found) if one and _needed(one.name, backup)]

    def missing_bytes(self) -> int:
        """Return the room that the WAL takes which is not here."""
        absent = [one for one in self._due if not self._is_here(one)]
        return sum(self._segment_bytes if is_segment(one.name) else one.far.bytes for one in absent)

    def fetch(self) -> int:
        """Fetch the segments and every history file; return how many came. Raises as the fetch does."""
        self._inflow.begin("fetching the WAL", sum(one.far.bytes for one in self._due))
        try:
            plain_files.own(self._archive, *self._inflow.server())
        except OSError as error:
            raise self._unusable(self._archive, error) from None
        return sum(self._inflow.each(self._one, self._due))

    def _wanted(self, far: FarObject) -> _Wanted | None:
        place = place_of(far.key, self._inflow.root)
        if place is None:
            return None
        # What is not sealed although it should be is none of ours, whatever its name.
        sealed = place[3].endswith(SEALED)
        ours = sealed == bool(self._inflow.suffix)
        return _Wanted(far, place[2], place[3].removesuffix(SEALED)) if ours else None

    def _is_here(self, one: _Wanted) -> bool:
        path = self._archive / one.generation / one.name
        return path.is_file() and not self._is_refused(path)

    def _is_refused(self, path: Path) -> bool:
        """Tell whether what lies here is no whole segment, and another one is asked for in its place."""
        wrong = is_segment(path.name) and path.lstat().st_size != self._segment_bytes
        return self._inflow.order.instead and (wrong or path.is_symlink())

    def _one(self, one: _Wanted) -> bool:
        """Fetch one file of the archive; tell whether it had to be."""
        directory = self._archive / one.generation
        path = directory / one.name
        if self._is_here(one):
            self._inflow.told(one.far.bytes)
            return False
        try:
            plain_files.own(directory, *self._inflow.server())
            for half in directory.glob(f".{one.name}.*.new"):
                half.unlink()  # of an attempt that was killed
            if path.is_symlink() or path.exists():
                self._inflow.put_aside(path)
            self._proven(one, path)
        except OSError as error:
            raise self._unusable(directory, error) from None
        return True

    def _proven(self, one: _Wanted, path: Path) -> None:
        inflow = self._inflow
        context = context_of(inflow.stack, _POSTGRES, WAL, one.generation, one.name)
        digest = hashlib.sha256()
        with plain_files.written(path) as target:
            pieces = inflow.plain(one.far.key, context)
            for piece in untrimmed(pieces) if inflow.suffix else pieces:
                digest.update(piece)
                target.write(piece)
                inflow.told(len(piece))
            # A seal proves itself; what came in clear is compared with what was noted when it left.
            head = None if inflow.suffix else inflow.bucket.head(one.far.key)
            if head is not None and head.metadata.get(DIGEST) != digest.hexdigest():
                raise BackupUnusable(
                    f"{path.name} is not what was sent", where=one.far.key, code="offsite-damaged"
                )

    @staticmethod
    def _unusable(where: Path, error: OSError) -> Refused:
        return Refused(
            f"the archive cannot take it: {error.strerror}", where=str(where), code="shelf-unusable"
        )


def _needed(name: str, backup: Backup) -> bool:
    """Tell whether a recovery may need a file: by its place, on any timeline."""
    return history_of(name) is not None or (is_segment(name) and name[8:] >= backup.start_segment[8:])
