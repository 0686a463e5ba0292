"""Shows that a backup of Hasura's metadata opens and holds what was exported; it is applied nowhere."""

from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import entries
from activities.metadata_backup import KIND, STORE, metadata_in, recorded_inconsistent
from activities.sealed_entry import SealedEntries
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry, bare
from domain.errors import BackupUnusable
from domain.hasura_metadata import INCONSISTENT, holdings_of, tables_of
from domain.holdings import compare_holdings
from domain.recovery import Proof

_FITTED = "consistent when it was taken"
PROVEN_BY = "opened and compared with its record, applied nowhere"


class MetadataProofs:
    """Opens backups of the metadata, and asks nothing of the Hasura that runs."""

    def __init__(self, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._tokens = tokens
        self._entries = SealedEntries(state, STORE, KIND)

    @activity.defn(no_thread_cancel_exception=True)
    def verify_metadata_restored(self, order: EntryTargetOrder) -> RestoreProven:
        """Open a backup, compare its structure with what was recorded, and record how it went.

        How many objects did not fit the database when it was taken is said. Raises ``BackupUnusable`` for
        a damaged one, ``Refused`` without its key.
        """
        target, where = order.target, Path(order.target.shelf)
        self._tokens.admit(order, target.stack)
        entry = self._entries.named(target, order.entry_id)
        plain = self._entries.opened(target, entry)
        try:
            metadata = metadata_in(entry, plain)
        except BackupUnusable:
            entries.record_verified(where, entry, Level.NONE, datetime.now(UTC), PROVEN_BY)
            raise
        recorded = tuple(one for one in entry.held if one.name != INCONSISTENT)
        key = self._entries.keys.find(entry.key_id)
        tables = len(tables_of(metadata))
        proofs = (
            *compare_holdings(recorded, holdings_of(metadata, {}, key)),
            Proof(name="tables", passed=bool(tables), evidence=f"{tables} tracked tables"),
            _fitted(entry),
        )
        # What did not fit then is in no file of the backup: where its entry was lost, nobody knows any more.
        well = all(proof.passed or (proof.name == _FITTED and proof.passed is None) for proof in proofs)
        level = Level.RESTORED if well else Level.NONE
        entry = entries.record_verified(where, entry, level, datetime.now(UTC), PROVEN_BY)
        wrong = None if well else next(proof for proof in proofs if not proof.passed)
        said = f"Metadata {entry.id} opens and holds what was exported: {tables} tracked tables"
        if wrong is not None:
            said = f"Metadata {entry.id} is not proven: {wrong.name}: {wrong.evidence}"
        return RestoreProven(entry=bare(entry), passed=well, proofs=proofs, sentence=said)


def _fitted(entry: Entry) -> Proof:
    """Say whether all of it fitted the database that it was taken beside."""
    if entry.rebuilt:
        return Proof(name=_FITTED, passed=None, evidence="it is not known: the entry was made anew")
    count = recorded_inconsistent(entry)
    said = f"{count} objects did not fit the database when it was taken" if count else "all of it fitted"
    return Proof(name=_FITTED, passed=not count, evidence=said)
