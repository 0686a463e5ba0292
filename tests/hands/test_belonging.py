"""Backups of another stack on this shelf: named, never used, never counted."""

from datetime import timedelta
from pathlib import Path

import pytest

from activities import entries
from activities.belonging import refuse_foreign
from activities.postgres.identity import look_at_identity
from activities.retention import Retaining
from activities.shelf import Shelf
from activities.tokens import Tokens
from domain.backup_policy import BackupPolicy
from domain.backups import ShelfOrder
from domain.entries import Source
from domain.errors import Refused
from domain.retention_plan import RetentionOrder
from tests.hands.hostile.planted import planted, target_on
from tests.hands.shelved import AT, shelved

RDB = "20261122T0{}0000Z-rdb"
HOUR = timedelta(hours=1)


def test_a_backup_of_another_stack_is_listed_as_a_stranger_with_whose_it_is(tmp_path: Path) -> None:
    ours = shelved(tmp_path, RDB.format(1), "redis", source=Source(stack="shop"))
    unsaid = shelved(tmp_path, RDB.format(2), "redis")
    theirs = shelved(tmp_path, RDB.format(3), "redis", source=Source(stack="other"))
    found = Shelf().observe_entries(ShelfOrder(shelf=str(tmp_path), stack="shop"))
    assert {one.id for one in found.entries} == {ours.id, unsaid.id}
    assert [(one.id, one.reason) for one in found.strangers] == [
        (theirs.id, "it is of the stack other, this one is shop")
    ]
    refuse_foreign(ours, "shop")
    refuse_foreign(unsaid, "shop")
    with pytest.raises(Refused, match="backup-foreign"):
        refuse_foreign(theirs, "shop")


def test_newer_backups_of_another_stack_push_out_none_of_ours_and_are_not_removed(tmp_path: Path) -> None:
    shelf, mine = tmp_path / "shelf", target_on(str(tmp_path / "shelf"))
    ours = [
        shelved(shelf, RDB.format(n), "redis", ended_at=AT + n * HOUR, source=Source(stack=mine.stack))
        for n in (1, 2)
    ]
    theirs = [
        shelved(shelf, RDB.format(n), "redis", ended_at=AT + n * HOUR, source=Source(stack="other"))
        for n in (3, 4, 5)
    ]
    policy = BackupPolicy(keep_redis=2)
    done = Retaining(Tokens(tmp_path), tmp_path, lambda: AT + 9 * HOUR).ensure_retained(
        RetentionOrder(target=mine, policy=policy, as_of=AT + 9 * HOUR)
    )
    assert done.removed == ()
    assert {one.id for one in done.plan.strangers} == {one.id for one in theirs}
    assert {one.id for one in entries.read_entries(shelf)[0]} == {one.id for one in (*ours, *theirs)}


def test_a_server_is_not_called_replaced_because_of_another_stacks_base_backup(tmp_path: Path) -> None:
    place = planted(tmp_path)
    mine = target_on(str(place.base.parents[1]))
    ours = place.backup("20261121T010000Z-base", system_identifier="77", stack=mine.stack, ended_at=AT)
    place.backup("20261122T010000Z-base", system_identifier="78", stack="other", ended_at=AT + HOUR)
    (witness,) = look_at_identity(mine, "77")
    assert witness.evidence == "database system 77, as in the newest backup"
    assert ours.id in place.names()
