"""What sealed backups hold that have lost their entry: opened with the key that their own header names."""

from pathlib import Path

from activities import configuration_archive
from activities.configuration_backup import KIND as CONFIGURATION
from activities.configuration_backup import STORE as STACK
from activities.configuration_backup import held_by
from activities.configuration_proof import manifest_in
from activities.metadata_backup import KIND as METADATA
from activities.metadata_backup import STORE as HASURA
from activities.metadata_backup import metadata_in
from activities.sealed_entry import SealedEntries
from domain.entries import Entry, Source
from domain.errors import BackupUnusable
from domain.hasura_metadata import holdings_of, tables_of
from domain.order import Target


class SealedRereading:
    """Reads them in memory. Without its key nothing of one is known, not even that it is a backup."""

    def __init__(self, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._metadata = SealedEntries(state, HASURA, METADATA)
        self._configuration = SealedEntries(state, STACK, CONFIGURATION)

    def read_metadata(self, _: Target, directory: Path, entry: Entry) -> Entry:
        """Add what exported metadata hold; what did not fit the database then is not known any more.

        Raises ``BackupUnusable``, and ``Refused`` without the key.
        """
        plain, key = self._metadata.reopened(directory, entry.id)
        metadata = metadata_in(entry, plain)
        if not tables_of(metadata):
            raise BackupUnusable("no table is tracked in it", code="backup-stranger")
        return entry.model_copy(update={"held": holdings_of(metadata, {}, key), "key_id": key.id})

    def read_configuration(self, _: Target, directory: Path, entry: Entry) -> Entry:
        """Add what a configuration holds. Raises ``BackupUnusable``, and ``Refused`` without the key."""
        plain, key = self._configuration.reopened(directory, entry.id)
        members = configuration_archive.unpack(plain)
        kept = manifest_in(members)
        held, source = held_by(members, kept, key), Source(stack=kept.stack, version=kept.project)
        return entry.model_copy(update={"held": held, "source": source, "key_id": key.id})
