"""F-C8: the newest backup holds the damage already; the newest one that is *intact* is what serves."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.catalogue import list_backups
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from activities.postgres.integrity import Integrity
from activities.postgres.proving import Proving
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import (
    Backup,
    BackupOrder,
    ChooseOrder,
    Level,
    PassedOver,
    ReceiveOrder,
    VerifyBackupOrder,
)
from domain.recovery import Verified, VerifyOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery
from tests.hands.postgres.test_assess import forget, write


def verified(scene: Scene, backup: Backup, attempt: int) -> Verified:
    """Restore a backup, replay its WAL, and verify the copy, as a run does."""
    scene.backup = backup
    scene.restore(attempt)
    copy = scene.follow(attempt)
    order = VerifyOrder(
        recovery_id=scene.rid, target=scene.target, copy_=copy, baseline=backup.contents, full=True
    )
    return Integrity(scene.engine, scene.sql, scene.state).verify_copy(order)


@pytest.mark.fault("C8", at_length=True)
def test_a_backup_of_damaged_data_is_passed_over_for_the_newest_that_is_intact_when_restored(
    server: Server, sql: Sql, seen: Seen
) -> None:
    """F-C8: backup taken after the corruption began."""
    with recovery(server, sql) as scene:
        backups = Backups(scene.engine, sql, Tokens(scene.state), scene.state)
        scene.protection.ensure_receiving(ReceiveOrder(target=scene.target))
        sound = backups.ensure_base_backup(BackupOrder(target=scene.target, label="sound"))
        # Zeroed pages are valid empty ones: everything reads well, with rows missing.
        server.do("VACUUM messages")
        rows = server.ask("SELECT count(m) FROM messages m")
        write(server, forget(server, "messages"), 40 * 8192, bytes(3 * 8192))
        began = datetime.now(UTC)
        left = server.ask("SELECT count(m) FROM messages m")
        assert left != rows
        after = backups.ensure_base_backup(BackupOrder(target=scene.target, label="after"))
        assert after.verified is Level.MANIFEST, "its manifest agrees: the files are as they were"
        server.mark(41)
        scene.archive_all()
        order = ChooseOrder(recovery_id=scene.rid, target=scene.target)
        choosing = Choosing(scene.engine, scene.state)
        first = choosing.choose_backup(order)
        assert first.backup == after
        judged = verified(scene, after, 1)
        seen(f"{rows} rows were {left} when {after.id} was taken; of its copy: {judged.sentence}")
        assert judged.passed is False
        assert any("messages" in proof.evidence for proof in judged.proofs if proof.passed is False)

        excluded = (PassedOver(id=after.id, reason=judged.sentence),)
        second = choosing.choose_backup(order.model_copy(update={"excluded": excluded}))
        assert second.backup == sound, "the older one is offered"
        assert [known.id for known in second.passed_over] == [after.id]
        assert verified(scene, sound, 2).passed is True, "and with all its WAL it is intact"

        Proving().ensure_recorded_restored(VerifyBackupOrder(target=scene.target, backup_id=sound.id))
        known = {b.id: b.verified for b in list_backups(Path(scene.target.shelf))}
        assert known == {sound.id: Level.RESTORED, after.id: Level.MANIFEST}
        # Where the damage was first seen is known, the backup after it is not even tried.
        dated = choosing.choose_backup(order.model_copy(update={"before": began}))
        assert dated.backup is not None
        assert dated.backup.id == sound.id
        (reason,) = [p.reason for p in dated.passed_over if p.id == after.id]
        assert "not before the first evidence of damage" in reason
