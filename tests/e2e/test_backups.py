"""A backup that is damaged on the shelf is never restored, and people may always say no."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stand import Stand, until
from tests.e2e.witness import Host
from tests.faults.record import Seen


@contextmanager
def flipped(paths: list[Path]) -> Iterator[None]:
    """Have one byte in the middle of each file changed for a while."""
    for path in paths:
        _flip(path)
    try:
        yield
    finally:
        for path in paths:
            _flip(path)


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        middle = path.stat().st_size // 2
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 0xFF]))


@contextmanager
def said_of_every_backup(stand: Stand, **facts: object) -> Iterator[None]:
    """Let the entry of every backup on the shelf say something else for a while."""
    shelf = Path(stand.target().shelf)
    entries = sorted(shelf.glob("postgres/base/*/dr.json"))
    kept = {entry: entry.read_bytes() for entry in entries}
    assert kept
    for entry, content in kept.items():
        entry.write_text(json.dumps({**json.loads(content), **facts}))
    try:
        yield
    finally:
        for entry, content in kept.items():
            entry.write_bytes(content)


@pytest.fixture
def no_room(lab_stand: Stand) -> Iterator[None]:
    """Let every backup say that it needs more room than any disk has."""
    with said_of_every_backup(lab_stand, bytes=2**50):
        yield


@pytest.mark.fault("C17")
def test_backups_of_another_image_are_refused_by_name_with_nothing_stopped(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-C17: image or C library changed between backup and restore."""
    stand, rows = damaged, damaged.backups()
    services, volumes = host.services(), host.volumes()
    mine = stand.target().postgres.image_id
    other = str(stand.lab.container("redis").attrs["Image"])
    assert other != mine
    with said_of_every_backup(stand, image_id=other):
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
        seen(f"taken by {other[7:19]}, the server runs {mine[7:19]}: {said.data['parked_reason']}")
        assert said.code == 4, said
        assert said.data["parked_step"] == "choose_backup"
        assert stand.dr("abort", "--by", "test", "--reason", "of another image").code == 0
        report = ended(stand, said.data["recovery_id"])
    for row in rows:
        (reason,) = [line for line in report["passed_over"] if line.startswith(f"{row['id']}:")]
        assert f"another image: {other[7:19]}, the server runs {mine[7:19]}" in reason
    assert host.services() == services
    assert host.volumes() == volumes
    assert stand.sql("SELECT 1") == [(1,)]


@pytest.mark.fault("B5")
def test_without_room_for_a_copy_a_recovery_parks_before_anything_is_stopped(
    damaged: Stand, host: Host, no_room: None, seen: Seen
) -> None:
    """F-B5: the room is checked first: parked before anything is stopped."""
    stand, services, volumes = damaged, host.services(), host.volumes()
    said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    assert said.code == 4, said
    assert said.data["parked_step"] == "choose_backup"
    assert "No room" in said.data["parked_reason"]
    seen(said.data["parked_reason"])
    assert stand.sql("SELECT 1") == [(1,)]
    assert host.services() == services
    assert host.volumes() == volumes
    assert stand.dr("abort", "--by", "test", "--reason", "there is no room").code == 0


@pytest.mark.fault("C3")
def test_without_a_whole_backup_a_recovery_parks_with_nothing_stopped_and_can_be_aborted(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-C3: corrupt, every one of them: rejected before anything is stopped."""
    stand, rows = damaged, damaged.backups()
    services, volumes = host.services(), host.volumes()
    with flipped([stand.relation_of(row) for row in rows]):
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
        assert said.code == 4, said
        assert said.data["state"] == "needs_human"
        assert said.data["parked_step"] == "choose_backup"
        assert "dr backup now" in said.data["parked_reason"]
        assert host.services() == services
        assert host.volumes() == volumes
        assert stand.sql("SELECT 1") == [(1,)]
        assert stand.dr("abort", "--by", "test", "--reason", "nothing to restore from").code == 0
        report = ended(stand, said.data["recovery_id"])
    assert report["outcome"] == "aborted"
    assert "nothing to restore from" in report["rule"]
    for row in rows:
        (reason,) = [line for line in report["passed_over"] if line.startswith(f"{row['id']}:")]
        assert "checksum mismatch" in reason
        seen(reason)
    assert host.services() == services
    assert host.volumes() == volumes


@pytest.mark.fault("G1")
def test_one_recovery_at_a_time_and_a_rejection_leaves_the_server_serving(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-G1: two recoveries at once, by dr."""
    stand = damaged
    services, volumes = host.services(), host.volumes()
    waiting = stand.begin("recover", "corruption", "--no-plan", "--yes-stack", stand.name, "--json")
    until(lambda: (view := stand.look()) and view.state != "ended", "the open run")
    view = stand.wait("gate")

    second = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    assert second.code == 7, second
    assert f"recovery/{stand.name}" in second.error["what"]
    seen(second.error["what"])
    other_brief = stand.dr(
        "approve", "swap", "--by", "test", "--digest", "0" * 16, *loss(view.maximum_loss_seconds)
    )
    assert other_brief.code == 5, other_brief
    assert other_brief.data["counted"] is False

    assert stand.dr("reject", "swap", "--by", "test", "--reason", "not today").code == 0
    said = stand.finish(waiting)
    assert said.code == 9, said
    assert said.data["outcome"] == "aborted"
    report = ended(stand, said.data["recovery_id"])
    assert "not today" in report["rule"]
    counted = [line["verb"] for line in report["decisions"] if line["counted"]]
    assert counted == ["reject"]
    assert datetime.fromisoformat(report["ended_at"]).tzinfo is not None
    assert host.services() == services
    assert host.volumes() == volumes
    assert host.leftovers() == []


def test_the_newest_backup_is_damaged_and_is_passed_over_for_an_older_one(damaged: Stand, host: Host) -> None:
    stand, newest = damaged, damaged.backups()[0]
    kept_before = set(host.kept())
    with flipped([stand.relation_of(newest)]):
        report = stand.to_the_end(stand.recover())
    assert report["outcome"] == "recovered", report["rule"]
    (reason,) = [line for line in report["passed_over"] if line.startswith(f"{newest['id']}:")]
    assert "checksum mismatch" in reason
    assert newest["id"] not in report["facts"]["backup"]
    # The WAL since the older backup is whole, so that nothing more is lost.
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert len(set(host.kept()) - kept_before) == 1
    assert host.leftovers() == []


def loss(stated: int | None) -> tuple[str, ...]:
    """Return the words that type a stated loss back."""
    return ("--accept-loss", str(stated)) if stated else ()


def ended(stand: Stand, recovery_id: str) -> dict[str, Any]:
    """Return the report of a recovery once it has ended."""
    until(lambda: (view := stand.look()) and view.state == "ended", "the end of the run")
    return stand.report(recovery_id)
