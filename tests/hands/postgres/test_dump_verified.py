"""Dumps that were damaged on the shelf, each found by the check that is there for it."""

from pathlib import Path

import pytest

from activities import entries
from activities.postgres.dump import Dumps
from domain.backups import Level
from domain.dumps import GLOBALS, EntryTargetOrder
from domain.entries import Entry
from domain.errors import BackupUnusable
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.dumped import altered, directory_of, flipped, resealed, wanted

pytestmark = pytest.mark.hand


def refused(dumps: Dumps, server: Server, entry: Entry) -> str:
    with pytest.raises(BackupUnusable) as damaged:
        dumps.verify_dump(EntryTargetOrder(target=server.target, entry_id=entry.id))
    assert damaged.value.code == "backup-damaged"
    assert entries.find_entry(Path(server.target.shelf), entry.id).verified is Level.NONE
    return damaged.value.what


@pytest.mark.fault("C2")
def test_a_truncated_dump_is_found_by_its_size_and_by_a_full_read(
    server: Server, dumps: Dumps, seen: Seen
) -> None:
    """F-C2: a dump cut at 60 %, whose list of contents still reads (L9)."""
    made = dumps.ensure_dump(wanted(server))
    order = EntryTargetOrder(target=server.target, entry_id=made.id)
    assert dumps.verify_dump(order).verified is Level.MANIFEST
    altered(directory_of(server, made) / "chat.dump", lambda whole: whole[: len(whole) * 6 // 10])
    by_size = refused(dumps, server, made)
    assert "chat.dump has" in by_size
    by_reading = refused(dumps, server, resealed(server, made))
    assert "cannot be read to its end" in by_reading
    seen(f"{by_size}; {by_reading}")


@pytest.mark.fault("C3")
def test_a_flipped_byte_in_a_compressed_dump_is_found_by_checksum_and_by_a_full_read(
    server: Server, dumps: Dumps, seen: Seen
) -> None:
    """F-C3: one byte of a compressed dump is another one (L10)."""
    made = dumps.ensure_dump(wanted(server))
    altered(directory_of(server, made) / "chat.dump", flipped)
    by_checksum = refused(dumps, server, made)
    assert "other bytes" in by_checksum
    by_reading = refused(dumps, server, resealed(server, made))
    assert "cannot be read to its end" in by_reading
    seen(f"{by_checksum}; {by_reading}")


@pytest.mark.fault("C3")
def test_a_flipped_byte_in_an_uncompressed_dump_is_found_by_its_checksum(
    server: Server, dumps: Dumps, seen: Seen
) -> None:
    """F-C3: one byte of an uncompressed dump is another one, which a full read does not see (L11)."""
    made = dumps.ensure_dump(wanted(server, compressed=False))
    victim = directory_of(server, made) / "chat.dump"
    content = victim.read_bytes()
    assert b"user 77\n" in content
    victim.write_bytes(content.replace(b"user 77\n", b"user 78\n"))
    assert "other bytes" in refused(dumps, server, made)
    # With a checksum of its own the altered file reads to its end: only the record of it helps.
    changed = resealed(server, made)
    order = EntryTargetOrder(target=server.target, entry_id=changed.id)
    assert dumps.verify_dump(order).verified is Level.MANIFEST
    seen("found by the recorded SHA-256 alone")


@pytest.mark.fault("C5")
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + b"\0" * 18], ids=["empty", "twenty bytes"])
def test_an_empty_dump_is_none(server: Server, dumps: Dumps, content: bytes, seen: Seen) -> None:
    """F-C5: a dump of no bytes, and of the twenty that a failed pipe leaves (L22)."""
    made = dumps.ensure_dump(wanted(server))
    (directory_of(server, made) / "chat.dump").write_bytes(content)
    seen(refused(dumps, server, made))
    assert "cannot be read to its end" in refused(dumps, server, resealed(server, made))


@pytest.mark.fault("C16")
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_dump_without_its_globals_is_no_dump(
    server: Server,
    dumps: Dumps,
    how: str,
    seen: Seen,
) -> None:
    """F-C16: the file with roles and memberships is missing, or has no end."""
    made = dumps.ensure_dump(wanted(server))
    victim = directory_of(server, made) / GLOBALS
    text = victim.read_bytes()
    victim.unlink()
    if how == "cut":
        victim.write_bytes(text[: len(text) // 2])
    assert GLOBALS in refused(dumps, server, made)
    said = refused(dumps, server, resealed(server, made))
    assert said.endswith("has no end" if how == "cut" else "is not among its files")
    seen(said)


def test_a_base_backup_is_not_verified_as_a_dump(server: Server, dumps: Dumps) -> None:
    with pytest.raises(BackupUnusable, match="it is not there"):
        dumps.verify_dump(EntryTargetOrder(target=server.target, entry_id="20200101T000000Z-daily"))
