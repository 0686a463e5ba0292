"""Shows that a backup of the search engine can be loaded: into one of its own, compared with its record."""

import time
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.engine import Engine
from activities.search_backup import search_entry
from activities.search_contents import seen_as_recorded
from activities.search_copy import SearchCopy
from activities.search_files import FILES, read_through
from activities.search_place import place_of_search, search_of
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry, bare
from domain.errors import BackupUnusable
from domain.holdings import compare_holdings
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target
from domain.recovery import Proof
from domain.search_restore import SNAPSHOT

PROVEN_BY = "loaded into an engine of its own and compared with its record"
ROLE = "search-check"


class SearchProofs:
    """Loads backups of the search engine to see whether that can be done."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_search_restored(self, order: EntryTargetOrder) -> RestoreProven:
        """Load a backup into an engine without network, compare, and record how it went.

        Raises ``BackupUnusable`` for one that differs from its record, ``Unavailable`` when the engine of
        its own cannot be asked. What was made is always removed.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        entry = search_entry(target, order.entry_id)
        directory = entries.directory_of(where, entry)
        wrong = stored.what_differs(directory, entry.files)
        if wrong:
            self._record(target, entry, Level.NONE)
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        place = place_of_search(self._engine, target, search_of(target))
        labels = {LABEL_STACK: target.stack, LABEL_ROLE: ROLE}
        wrote = entry.source.image_id
        # What wrote it may read it, also after the live one became another.
        image = wrote if wrote and self._engine.image(wrote) is not None else place.container.image_id
        copy = SearchCopy(self._engine, place, f"dr-{target.stack}-check-{entry.id}", labels, image)
        began = time.monotonic()
        with alone(self._state, copy.name):
            proofs = (*_loaded(copy, directory, entry, same=image == wrote), _image(entry, image))
        well = all(proof.passed is not False for proof in proofs) and any(proof.passed for proof in proofs)
        well = well and all(proof.passed is not None for proof in proofs[:-1])
        if well or any(proof.passed is False for proof in proofs):
            entry = self._record(target, entry, Level.RESTORED if well else Level.NONE)
        seconds = time.monotonic() - began
        return RestoreProven(
            entry=bare(entry), passed=well, proofs=proofs, sentence=_said(entry, proofs, well, seconds)
        )

    def _record(self, target: Target, entry: Entry, level: Level) -> Entry:
        return entries.record_verified(Path(target.shelf), entry, level, datetime.now(UTC), PROVEN_BY)


def _loaded(copy: SearchCopy, directory: Path, entry: Entry, *, same: bool) -> tuple[Proof, ...]:
    """Load a backup and compare; that another image does not take a snapshot says nothing against it.

    It is read to its end first: the engine takes no notice of a checksum within the file.
    """
    copy.remove()
    try:
        read_through(directory / FILES[entry.kind], entry.kind)
    except BackupUnusable as error:
        return (Proof(name="read", passed=False, evidence=error.what),)
    try:
        copy.load(directory, entry)
        return compare_holdings(entry.held, seen_as_recorded(copy.get, entry.held))
    except BackupUnusable as error:
        wrong = None if entry.kind == SNAPSHOT and not same else False
        return (Proof(name="load", passed=wrong, evidence=error.what),)
    finally:
        copy.remove()


def _image(entry: Entry, image: str) -> Proof:
    """Say whether the program was the one that had made the backup; a dump is for others too."""
    if entry.source.image_id == image:
        return Proof(name="image", passed=True, evidence="loaded by the image that wrote it")
    said = "loaded by another image than wrote it"
    return Proof(name="image", passed=None if entry.kind == SNAPSHOT else True, evidence=said)


def _said(entry: Entry, proofs: tuple[Proof, ...], well: bool, seconds: float) -> str:  # noqa: FBT001 - told by its name
    wrong = [proof for proof in proofs if proof.passed is False]
    wrong = wrong or [proof for proof in proofs if proof.passed is None]
    if not well and wrong:
        return f"Search {entry.kind} {entry.id} is not proven: {wrong[0].name}: {wrong[0].evidence}"
    return f"Search {entry.kind} {entry.id} was loaded in {seconds:.1f} s and holds what was recorded"
