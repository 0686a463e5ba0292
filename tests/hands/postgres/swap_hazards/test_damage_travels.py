"""Damage that reaches the restored copy although the backup was sound."""

import re

import pytest

from activities.postgres.integrity import Integrity
from activities.postgres.quiet import Quiet
from domain.backups import ReceiveOrder
from domain.diagnosis import DamagedBlock
from domain.order import TargetOrder
from domain.recovery import VerifyOrder
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import copy_on, followed, until

BLOCK = 8192
ZEROED, ALTERED = 50, 60


def in_block(scene: Scene, block: int, what: str) -> int:
    """Return one number about the messages that lie in a block."""
    where = f"ctid >= '({block},1)' AND ctid < '({block + 1},1)'"
    found = scene.server.ask(f"SELECT {what} FROM messages WHERE {where}")  # noqa: S608 - ours
    return int(str(found))


def damage(scene: Scene, body: str) -> None:
    """Zero a page, and change a text in another, under a stopped server without checksums."""
    path = scene.server.volume_path / str(scene.server.ask("SELECT pg_relation_filepath('messages')"))
    scene.server.client.api.stop(scene.target.postgres.container_id, timeout=30)
    data = bytearray(path.read_bytes())
    data[ZEROED * BLOCK : (ZEROED + 1) * BLOCK] = bytes(BLOCK)
    at = data.index(body.encode(), ALTERED * BLOCK, (ALTERED + 1) * BLOCK)
    data[at : at + 8] = b"GARBLED!"
    path.write_bytes(data)
    # What it says of a page that was full before may keep VACUUM from seeing the hole.
    path.with_name(f"{path.name}_fsm").unlink()
    scene.server.client.api.start(scene.target.postgres.container_id)
    scene.server.wait()
    scene.protection.ensure_receiving(ReceiveOrder(target=scene.target))


@pytest.mark.swap_hazard(1, at_length=True)
def test_damage_that_travelled_through_the_wal_is_found_on_the_copy_and_named(scene: Scene) -> None:
    """Row 1 of what bites in a swap: damage travels through WAL where checksums are off."""
    server = scene.server
    assert server.ask("SHOW data_checksums") == "off"
    server.do("VACUUM messages")
    server.do("CHECKPOINT")
    victim = in_block(scene, ALTERED, "min(id)")
    neighbour = victim + 1
    body = str(server.ask(f"SELECT body FROM messages WHERE id = {victim}"))  # noqa: S608 - a number
    lost = in_block(scene, ZEROED, "count(*)")
    assert lost > 10
    scene.archive_all()
    evidence = str(server.ask("SELECT pg_current_wal_lsn()"))
    before = followed(scene)

    damage(scene, body)
    quiet = Quiet(scene.engine, scene.sql, scene.state)
    quiet.ensure_quiet(TargetOrder(recovery_id=scene.rid, target=scene.target))
    assert server.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'autovacuum worker'") == 0
    assert server.ask("SHOW autovacuum") == "off"
    # What autovacuum would have done, done by hand; the small rows fill every gap, and the hole.
    server.do("VACUUM (DISABLE_PAGE_SKIPPING) messages")
    server.do(
        "INSERT INTO messages (id, channel_id, author_id, body)"
        " SELECT n, 1, 1, '' FROM generate_series(30001, 33000) n"
    )
    server.do(f"UPDATE messages SET reply_to = NULL WHERE id = {neighbour}")  # noqa: S608 - a number
    assert in_block(scene, ZEROED, "count(*)") > 0
    scene.archive_all()

    plain = copy_on(scene, scene.restore(2).volume).wait()
    until(lambda: plain.ask("SELECT count(*) FROM messages WHERE id > 30000") == 3000, "the copy lags behind")
    # By the heap: an index that still has the erased rows would count them, and no index has the body.
    there = "SELECT count(body || '') FROM messages WHERE id + 0 <= 20000"
    assert plain.ask(there) == 20000 - lost
    assert str(plain.ask(f"SELECT body FROM messages WHERE id = {victim}")).startswith("GARBLED!")  # noqa: S608 - a number
    assert plain.run("pg_amcheck", "-d", "chat", "--heapallindexed").exit_code == 0
    assert plain.run("pg_dump", "-d", "chat", "-f", "/dev/null").exit_code == 0
    plain.remove()

    relation = str(server.ask("SELECT pg_relation_filepath('messages')"))
    path = f"1663/{relation.removeprefix('base/')}"
    blocks = tuple(DamagedBlock(relation="public.messages", path=path, block=b) for b in (ZEROED, ALTERED))
    copy = followed(scene, damaged_blocks=blocks, first_evidence_lsn=evidence)
    named = "\n".join(copy.damage_in_wal)
    assert re.search(rf"writes block {ZEROED} of public.messages", named), named
    assert re.search(rf"writes block {ALTERED} of public.messages with a full image", named), named
    order = VerifyOrder(
        recovery_id=scene.rid, target=scene.target, copy_=copy, full=False, since_lsn=before.replayed_lsn
    )
    found = Integrity(scene.engine, scene.sql, scene.state).verify_copy(order)
    assert not found.passed
    proof = next(p for p in found.proofs if p.name == "heap against index")
    assert proof.passed is False
    assert "public.messages" in proof.evidence

    quiet.ensure_unquiet(TargetOrder(recovery_id=scene.rid, target=scene.target))
    assert server.ask("SHOW autovacuum") == "on"
