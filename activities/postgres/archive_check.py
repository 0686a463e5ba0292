"""Shows that the archived WAL goes on from the newest base backup without a gap."""

from pathlib import Path

from temporalio import activity

from activities.catalogue import list_backups
from activities.postgres import shelf
from activities.postgres.choose import chain_after
from domain.backups import Backup, ChooseOrder, Level
from domain.choice import of_another_stack
from domain.order import TargetOrder
from domain.recovery import Judged, Proof
from domain.wal import Archive, parse_lsn, segment_name


class ArchiveChecks:
    """Reads the archive as a recovery would; changes nothing."""

    @activity.defn(no_thread_cancel_exception=True)
    def verify_archive(self, order: TargetOrder) -> Judged:
        """Follow the WAL from the newest base backup that is not known to be damaged.

        WAL of another cluster than that backup's is not there, so that a backup of somebody else does not
        pass. Raises ``Refused`` when this process may not look at the shelf.
        """
        where, server = Path(order.target.shelf), order.target.postgres
        known = (one for one in list_backups(where) if one.verified is not Level.NONE)
        ours = (one for one in known if not of_another_stack(one.stack, order.target.stack))
        backup = next(ours, None)
        if backup is None:
            said = "no base backup is known to be whole, so the archive leads nowhere"
            return Judged(passed=False, sentence=said)
        received = shelf.read_received(where, backup.wal_segment_bytes, server.uid, backup.system_identifier)
        proofs = _proofs(order, backup, received.archive)
        wrong = [proof for proof in proofs if not proof.passed]
        newest = f", written at {received.newest_at:%Y-%m-%d %H:%M:%SZ}" if received.newest_at else ""
        said = f"WAL of {backup.id}: {(wrong or proofs)[0].evidence}{'' if wrong else newest}"
        return Judged(passed=not wrong, proofs=proofs, sentence=said)


def _proofs(order: TargetOrder, backup: Backup, archive: Archive) -> tuple[Proof, ...]:
    chain = chain_after(ChooseOrder(target=order.target), backup, archive)
    said = f"{chain.segments} segments from {backup.start_segment} to {chain.last}, none missing"
    # What the backup brings itself is no archive, and an open segment does not say whose it is.
    stop = segment_name(backup.timeline, parse_lsn(backup.stop_lsn) - 1, backup.wal_segment_bytes)
    goes_on = stop in archive.closed or chain.last in archive.closed
    return (
        Proof(name="chain", passed=chain.whole, evidence=chain.problem or said),
        Proof(
            name="archive",
            passed=goes_on,
            evidence="the archive goes on behind the backup"
            if goes_on
            else "the archive holds no WAL of this cluster from the end of the backup on",
        ),
    )
