"""Backups that are one sealed file: made and read in memory, so that none of it is on a disk in clear."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from activities import entries, plain_files, sealing, stored
from activities.alone import alone
from activities.backup_keys import BackupKeys
from activities.belonging import apart
from activities.open_recovery import refuse_while_recovering
from activities.shelf_place import begin, clear, id_in, prepare
from domain.backups import Level, spoken_bytes
from domain.entries import Entry, Source, files_sha256, place_of
from domain.errors import BackupUnusable, Refused
from domain.holdings import Holding
from domain.order import Target
from domain.sealing import HEADER_BYTES, BackupKey, read_header
from domain.store_backups import StoreBackupOrder

LIMIT_BYTES = 64 * 1024 * 1024
"""So large is the content of one at most."""
_SEALED_LIMIT_BYTES = LIMIT_BYTES + (1 << 20)
_NAMED = 3
_READ_BY = "sizes and SHA-256, and opened with its key"


@dataclass(frozen=True)
class Content:
    """What is to be sealed, and what may be said of it in clear."""

    plain: bytes = field(repr=False)
    held: tuple[Holding, ...]
    sentence: str
    source: Source = field(default_factory=Source)


class SealedEntries:
    """Takes, finds and opens the sealed backups of one store and kind."""

    def __init__(self, state: Path, store: str, kind: str) -> None:
        """``state`` is DR_STATE."""
        self._state = state
        self._store = store
        self._kind = kind
        self._file = f"{kind}{sealing.SUFFIX}"
        self.keys = BackupKeys(state)

    def ensure(self, order: StoreBackupOrder, make: Callable[[BackupKey], Content]) -> Entry:
        """Seal what ``make`` returns, or return the backup that has this label.

        Raises ``Refused`` while a recovery is open, without a key to seal with, and for more than fits
        into memory.
        """
        target = order.target
        refuse_while_recovering(self._state, target.stack, order)
        key = self.keys.current()
        with alone(self._state, f"{self._store}-{target.stack}-{self._kind}"):
            directory = prepare(Path(target.shelf), self._store, self._kind)
            clear(directory)
            known = self.labelled(target, order.label)
            if known is not None:
                return known
            partial = entries.partial_of(
                Path(target.shelf), self._store, self._kind, entries.new_id(directory, self._kind)
            )
            begin(partial)
            try:
                return self._make(order, partial, key, make)
            finally:
                clear(directory)

    def labelled(self, target: Target, label: str) -> Entry | None:
        """Return the backup that has a label."""
        found = entries.read_entries(Path(target.shelf))[0]
        mine = (one for one in found if (one.store, one.kind) == (self._store, self._kind))
        return next((one for one in mine if one.label == label), None)

    def named(self, target: Target, entry_id: str) -> Entry:
        """Return the backup of that id, the newest of its kind for an empty one.

        Raises ``Refused`` (``backup-other-kind``) for one of another kind, ``BackupUnusable``.
        """
        where = Path(target.shelf)
        if not entry_id:
            found = apart(entries.read_entries(where)[0], target.stack)[0]
            mine = [one.id for one in found if (one.store, one.kind) == (self._store, self._kind)]
            entry_id = mine[0] if mine else f"of {self._store} {self._kind}"
        entry = entries.find_entry(where, entry_id)
        if (entry.store, entry.kind) != (self._store, self._kind):
            said = f"backup {entry.id} is not of {self._store} but of {entry.store} {entry.kind}"
            raise Refused(said, code="backup-other-kind")
        return entry

    def opened(self, target: Target, entry: Entry) -> bytes:
        """Return what a backup holds.

        Raises ``BackupUnusable`` for a damaged one, after its level was taken away, and ``Refused`` when
        its key is not on this host.
        """
        directory = entries.directory_of(Path(target.shelf), entry)
        wrong = stored.what_differs(directory, entry.files)
        try:
            if not wrong:
                return self._opened(directory, entry.id)
        except BackupUnusable as error:
            wrong = error.what
        entries.record_verified(Path(target.shelf), entry, Level.NONE, datetime.now(UTC), _READ_BY)
        raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")

    def reopened(self, directory: Path, entry_id: str) -> tuple[bytes, BackupKey]:
        """Return what a backup without its entry holds, and the key that its own header names.

        Raises ``BackupUnusable`` for a damaged one and for other files beside it, ``Refused``
        (``not-sealed``, ``backup-key-missing``) when nobody can say what it is.
        """
        names = stored.names_in(directory)
        if names != [self._file]:
            said = f"it holds {', '.join(names[:_NAMED]) or 'no file'}, not {self._file} alone"
            raise BackupUnusable(said, where=str(directory), code="backup-stranger")
        with plain_files.opened(directory / self._file) as handle:
            header = read_header(os.read(handle, HEADER_BYTES))
        return self._opened(directory, entry_id), self.keys.find(header.key_id)

    def _opened(self, directory: Path, entry_id: str) -> bytes:
        try:
            sealed = plain_files.read(directory / self._file, _SEALED_LIMIT_BYTES)
        except OSError as error:
            said = f"{self._file} cannot be read: {error.strerror}"
            raise BackupUnusable(said, code="backup-damaged") from None
        return b"".join(sealing.opened_chunks([sealed], self.keys.find, self._context(entry_id)))

    def _context(self, entry_id: str) -> str:
        return f"{place_of(self._store, self._kind, entry_id)}/{self._file}"

    def _make(
        self, order: StoreBackupOrder, partial: Path, key: BackupKey, make: Callable[[BackupKey], Content]
    ) -> Entry:
        entry_id = id_in(partial)
        began = datetime.now(UTC)
        content = make(key)
        if len(content.plain) > LIMIT_BYTES:
            said = f"it has {spoken_bytes(len(content.plain))}, more than {spoken_bytes(LIMIT_BYTES)}"
            raise Refused(f"{self._store} cannot be backed up: {said}", code="backup-too-large")
        digest = hashlib.sha256(content.plain).digest()
        sealed = sealing.repeatable(sealing.Held(content.plain), digest, key, self._context(entry_id))
        plain_files.replace(partial / self._file, sealed.read(0, sealed.size))
        files = stored.stored_files(partial)
        if self._opened(partial, entry_id) != content.plain:
            raise BackupUnusable("what was just sealed opens as something else", code="backup-damaged")
        size = sum(file.bytes for file in files)
        entry = Entry(
            sentence=f"Backup {entry_id}: {content.sentence}; {spoken_bytes(size)}, sealed with {key.id}",
            id=entry_id,
            store=self._store,
            kind=self._kind,
            path=place_of(self._store, self._kind, entry_id),
            started_at=began,
            ended_at=datetime.now(UTC),
            bytes=size,
            sha256=files_sha256(files),
            files=files,
            source=content.source,
            held=content.held,
            key_id=key.id,
            verified=Level.MANIFEST,
            verified_at=datetime.now(UTC),
            verified_by=_READ_BY,
            label=order.label,
            reason=order.reason,
            scheduled_for=order.scheduled_for,
        )
        return entries.publish(partial, entry)
