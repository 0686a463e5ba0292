"""What excludes a backup, judged by its entry alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.backups import Backup, ChooseOrder, PassedOver, spoken_bytes
from domain.choice import major_version, needed_bytes, newest_first, predicted_seconds, why_unfit
from domain.order import PostgresTarget, Target

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
TARGET = Target(
    stack="chat",
    project="chat",
    postgres=PostgresTarget(
        service="postgres",
        container_id="c" * 64,
        container_name="chat_postgres",
        image_id="sha256:aaaaaaaaaaaaaaaa",
        volume="data",
        mount_path="/data",
        pgdata="/data",
        uid=999,
        gid=999,
    ),
    services=(),
    shelf="/shelf",
)


def backup(backup_id: str = "a", **more: object) -> Backup:
    return Backup.model_validate(
        {
            "id": backup_id,
            "path": f"postgres/base/{backup_id}/data",
            "started_at": NOW - timedelta(seconds=5),
            "ended_at": NOW,
            "bytes": 3_000_000_000,
            "system_identifier": "77",
            "server_version": "17.11 (Debian 17.11-1)",
            "image_id": TARGET.postgres.image_id,
            "timeline": 1,
            "start_lsn": "0/3000028",
            "stop_lsn": "0/30020B8",
            "start_segment": "000000010000000000000003",
            **more,
        }
    )


def order(**more: object) -> ChooseOrder:
    return ChooseOrder.model_validate({"target": TARGET, **more})


def test_a_backup_of_this_server_fits() -> None:
    known = order(system_identifier="77", before=NOW + timedelta(seconds=1), timeline=1)
    assert why_unfit(backup(), known, major="17") == ""
    assert why_unfit(backup(), order()) == ""


@pytest.mark.parametrize(
    ("asked", "major", "said"),
    [
        ({"before": NOW}, "", "not before the first evidence of damage at 2026-11-22 04:30:00"),
        ({"system_identifier": "78"}, "", "another database system: 77, the server is 78"),
        (
            {"excluded": (PassedOver(id="a", reason="amcheck"),)},
            "",
            "tried already in this recovery: amcheck",
        ),
        ({}, "18", "of PostgreSQL 17, the server is 18"),
    ],
)
def test_what_excludes_a_backup_is_named(asked: dict[str, object], major: str, said: str) -> None:
    assert said in why_unfit(backup(), order(**asked), major=major)


def test_a_backup_of_another_image_is_not_this_servers() -> None:
    found = why_unfit(backup(image_id="sha256:bbbbbbbbbbbbbbbb"), order())
    assert found == "it was taken by another image: bbbbbbbbbbbb, the server runs aaaaaaaaaaaa"


@given(st.permutations([0, 1, 2, 3, 4]))
def test_the_order_does_not_depend_on_how_they_were_found(numbers: list[int]) -> None:
    found = [backup(str(n), ended_at=NOW + timedelta(seconds=n // 2)) for n in numbers]
    assert [entry.id for entry in newest_first(found)] == ["4", "3", "2", "1", "0"]


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_to_copy_needs_more_room_and_time(size: int, wal: int) -> None:
    one, more = backup(bytes=size), backup(bytes=size + 10**9)
    assert needed_bytes(one, wal) >= size + wal
    assert needed_bytes(more, wal) > needed_bytes(one, wal)
    assert predicted_seconds(more, wal) > predicted_seconds(one, wal)
    assert predicted_seconds(one, wal + 10**9) > predicted_seconds(one, wal)


def test_figures_are_said_as_people_say_them() -> None:
    assert major_version("17.11 (Debian 17.11-1)") == "17"
    assert spoken_bytes(2_820_000_000) == "2.82 GB"
    assert spoken_bytes(16 * 1024 * 1024) == "16.8 MB"
    assert predicted_seconds(backup(), 200_000_000) == 22.0


def test_of_an_unknown_server_another_stacks_backup_is_not_taken_and_of_a_known_one_no_name_matters() -> None:
    theirs = backup(stack="other")
    assert why_unfit(theirs, order()) == f"it is of the stack other, this one is {TARGET.stack}"
    assert why_unfit(theirs, order(system_identifier="77")) == ""
    assert why_unfit(backup(stack=TARGET.stack), order()) == ""
