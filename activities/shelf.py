"""The shelf of all stores, for people who ask: what it holds, and whether an entry's files are whole."""

from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.belonging import apart
from domain.backups import Level, ShelfOrder, spoken_bytes
from domain.entries import Entry, EntryList, EntryOrder, bare, shown
from domain.errors import BackupUnusable

READ_BY = "sizes and SHA-256 of every file"
_OTHERS_NAMED = 50


class Shelf:
    """Reads the catalogue of every store."""

    @activity.defn(no_thread_cancel_exception=True)
    def observe_entries(self, order: ShelfOrder) -> EntryList:
        """Return the entries of a shelf, newest first, and what lies there that is none."""
        known, strangers = entries.read_entries(Path(order.shelf))
        found, others = apart(known, order.stack)
        newest = f", newest {found[0].id} ({found[0].verified})" if found else ""
        return EntryList(
            sentence=f"{len(found)} backups on the shelf{newest}",
            entries=tuple(bare(entry) for entry in found),
            strangers=(*strangers, *others[:_OTHERS_NAMED]),
        )

    @activity.defn(no_thread_cancel_exception=True)
    def observe_entry(self, order: EntryOrder) -> Entry:
        """Return one entry; raises ``BackupUnusable`` when there is none, with what is wrong with it."""
        entry = entries.find_entry(Path(order.shelf), order.entry_id)
        return shown(entry) if order.whole else bare(entry)

    @activity.defn(no_thread_cancel_exception=True)
    def verify_files(self, order: EntryOrder) -> Entry:
        """Compare every file of an entry with its record, and record level and date.

        An entry that was restored keeps that level. Raises ``BackupUnusable`` for a damaged one, after
        its level was taken away.
        """
        where = Path(order.shelf)
        entry = entries.find_entry(where, order.entry_id)
        directory = entries.directory_of(where, entry)
        wrong = stored.what_differs(directory, entry.files)
        if wrong:
            entries.record_verified(where, entry, Level.NONE, datetime.now(UTC), READ_BY)
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        if entry.verified is not Level.RESTORED:
            entry = entries.record_verified(where, entry, Level.MANIFEST, datetime.now(UTC), READ_BY)
        said = f"Backup {entry.id} has every byte that was recorded: {spoken_bytes(entry.bytes)}."
        return bare(entry.model_copy(update={"sentence": said}))
