"""The choice among real backups, of which some are damaged."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import docker
import pytest

from activities.catalogue import list_backups, record
from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from activities.postgres.receiver import Protection
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import Backup, BackupChoice, BackupOrder, ChooseOrder, Level, PassedOver, ReceiveOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server, running_server

pytestmark = pytest.mark.hand

RECOVERY = "20261122T0430Z-abcd1234"


@dataclass(frozen=True)
class Shelf:
    """Two backups with the WAL around them; each test gets a copy of the files to damage."""

    server: Server
    path: Path
    older: Backup
    newer: Backup

    def order(self, **more: object) -> ChooseOrder:
        target = self.server.target.model_copy(update={"shelf": str(self.path)})
        return ChooseOrder.model_validate({"target": target, "recovery_id": RECOVERY, **more})

    def data(self, backup: Backup) -> Path:
        return self.path / backup.path

    @property
    def wal(self) -> Path:
        return self.path / "postgres" / "wal" / "dr_recv_1"


@pytest.fixture(scope="module")
def filled(
    client: docker.DockerClient,
    engine: Engine,
    image_id: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shelf]:
    root = tmp_path_factory.mktemp("choose")
    with running_server(client, image_id, root / "shelf") as server:
        sql, tokens = Sql(Secrets(engine)), Tokens(root)
        Protection(engine, sql, tokens, root).ensure_receiving(ReceiveOrder(target=server.target))
        backups = Backups(engine, sql, tokens, root)
        made = []
        for number in (1, 2):
            made.append(
                backups.ensure_base_backup(BackupOrder(target=server.target, label=f"number {number}"))
            )
            for step in (1, 2):
                server.mark(10 * number + step)
                server.archive_all()
        Protection(engine, sql, tokens, root).ensure_receiving(ReceiveOrder(target=server.target))
        yield Shelf(server, root / "shelf", *made)


@pytest.fixture
def shelf(filled: Shelf, tmp_path: Path) -> Shelf:
    copied = tmp_path / "copied"
    shutil.copytree(filled.path, copied, symlinks=True)
    for folder, folders, files in os.walk(copied):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, 999, 999)
    return Shelf(filled.server, copied, filled.older, filled.newer)


@pytest.fixture
def choosing(engine: Engine, state: Path) -> Choosing:
    return Choosing(engine, state)


def reasons(choice: BackupChoice) -> dict[str, str]:
    return {known.id: known.reason for known in choice.passed_over}


def test_the_newest_whole_backup_is_taken_with_its_figures(shelf: Shelf, choosing: Choosing) -> None:
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.newer
    assert choice.passed_over == ()
    assert choice.last_wal_segment >= shelf.newer.start_segment
    assert choice.wal_until is not None
    assert choice.wal_until > shelf.newer.ended_at
    assert choice.needed_bytes is not None
    assert choice.needed_bytes > shelf.newer.bytes
    assert choice.predicted_seconds is not None
    again = choosing.choose_backup(shelf.order())
    assert again.model_copy(update={"room_bytes": choice.room_bytes}) == choice


def relation_of(shelf: Shelf, relation: str = "'messages'") -> Path:
    """Return the file of the messages, or of another relation, in the newer backup."""
    path = shelf.server.ask(f"SELECT pg_relation_filepath({relation})")
    return shelf.data(shelf.newer) / str(path)


@pytest.mark.fault("C1")
@pytest.mark.parametrize("what", ["all of it", "its data"])
def test_a_backup_that_vanished_from_the_shelf_is_missed_and_the_next_older_is_chosen(
    filled: Shelf, shelf: Shelf, what: str, seen: Seen
) -> None:
    """F-C1: latest backup missing: the older one is chosen, with what may be lost beside it."""
    # The worker's state knows what was taken; it is not on the shelf.
    choosing = Choosing(Engine(shelf.server.client), filled.path.parent)
    gone = shelf.data(shelf.newer).parent
    whole = choosing.choose_backup(shelf.order())
    shutil.rmtree(gone if what == "all of it" else gone / "data")
    seen(f"{gone.name}: {[path.name for path in gone.parent.iterdir()]}")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "missing" in reasons(choice)[shelf.newer.id]
    assert "1 passed over" in choice.sentence
    # Its WAL is whole, so that nothing more is lost; without it the older backup's own end is the bound.
    assert choice.wal_until == whole.wal_until
    shutil.rmtree(shelf.wal)
    alone = choosing.choose_backup(shelf.order())
    assert alone.backup == shelf.older
    assert alone.wal_until is None


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8192)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(flip, "checksum mismatch", marks=pytest.mark.fault("C3")),
        pytest.param(truncate, "has size", marks=pytest.mark.fault("C2")),
        (Path.unlink, "present in the manifest"),
    ],
)
def test_a_damaged_backup_is_passed_over_with_the_file_that_is_wrong(
    shelf: Shelf, choosing: Choosing, damage: Callable[[Path], None], said: str, seen: Seen
) -> None:
    """F-C2, F-C3: truncated, or one bit flipped: rejected by size and checksum, before anything stops."""
    victim = relation_of(shelf)
    before = victim.read_bytes()
    damage(victim)
    after = victim.read_bytes() if victim.exists() else b""
    assert after != before
    seen(f"{victim.name} had {len(before)} bytes and has {len(after)}")
    choice = choosing.choose_backup(shelf.order())
    assert shelf.server.ask("SELECT 1") == 1
    assert choice.backup == shelf.older
    assert set(reasons(choice)) == {shelf.newer.id}
    reason = reasons(choice)[shelf.newer.id]
    assert said in reason
    assert victim.name in reason


@pytest.mark.fault("C3")
def test_a_bit_that_flipped_in_compressed_values_is_seen_as_well(
    shelf: Shelf, choosing: Choosing, seen: Seen
) -> None:
    """F-C3: corrupt by a bit, in a file whose values are compressed."""
    toast = "(SELECT reltoastrelid FROM pg_class WHERE relname = 'pg_rewrite')"
    victim = relation_of(shelf, toast)
    assert victim.stat().st_size > 8192
    flip(victim)
    seen(f"one bit of {victim.name}, which holds compressed values")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "checksum mismatch" in reasons(choice)[shelf.newer.id]


def shrink(shelf: Shelf, level: Level = Level.MANIFEST) -> Backup:
    """Let the newer backup be a fifth of the one before it, by its own entry."""
    small = shelf.newer.model_copy(update={"bytes": shelf.older.bytes // 5, "verified": level})
    record(shelf.path, small)
    return small


@pytest.mark.fault("C5")
def test_a_suspiciously_small_backup_is_refused_for_the_one_before_it(
    shelf: Shelf, choosing: Choosing, seen: Seen
) -> None:
    """F-C5: suspiciously small against the previous one; taken as the last one alone, and then named."""
    small = shrink(shelf)
    seen(f"{small.bytes} bytes after {shelf.older.bytes}")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "suspiciously small" in reasons(choice)[shelf.newer.id]
    (shelf.data(shelf.older) / "PG_VERSION").unlink()
    last = choosing.choose_backup(shelf.order())
    assert last.backup == small
    assert "No other can be used, though it is suspiciously small" in last.sentence
    proven = shrink(shelf, Level.RESTORED)
    assert choosing.choose_backup(shelf.order()).backup == proven


@pytest.mark.fault("C5")
def test_a_backup_of_zero_bytes_is_refused(shelf: Shelf, choosing: Choosing, seen: Seen) -> None:
    """F-C5: zero-byte files where a backup should be."""
    data = shelf.data(shelf.newer)
    for path in data.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    seen(f"{sum(path.stat().st_size for path in data.rglob('*') if path.is_file())} bytes are left")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert shelf.newer.id in reasons(choice)
    entry = data.parent / "dr.json"
    os.truncate(entry, 0)
    assert "is broken" in reasons(choosing.choose_backup(shelf.order()))[shelf.newer.id]


@pytest.mark.fault("C6")
def test_links_on_the_shelf_are_not_followed_and_an_unfinished_backup_is_not_chosen(
    shelf: Shelf, choosing: Choosing, tmp_path: Path, seen: Seen
) -> None:
    """F-C6: latest link dangling or pointing outside; the newest name is still being written."""
    base = shelf.path / "postgres" / "base"
    outside = tmp_path / "99990101T000000Z-base"
    shutil.copytree(shelf.data(shelf.newer).parent, outside)
    newest = shelf.newer.model_copy(update={"id": outside.name, "path": f"postgres/base/{outside.name}/data"})
    (outside / "dr.json").write_text(newest.model_dump_json())
    (base / outside.name).symlink_to(outside)
    (base / "latest").symlink_to("nowhere")
    writing = base / "99990102T000000Z-base"
    shutil.copytree(shelf.data(shelf.newer), writing / "data")
    hidden = base / ".99990103T000000Z-base.partial"
    shutil.copytree(shelf.data(shelf.newer), hidden / "data")
    seen(", ".join(sorted(path.name for path in base.iterdir())))
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.newer
    said = reasons(choice)
    assert "not followed" in said[outside.name]
    assert "not followed" in said["latest"]
    assert "dr.json cannot be read" in said[writing.name], "the entry is written last"
    assert said[hidden.name] == "an unfinished backup"


@pytest.mark.fault("C6")
def test_a_backup_with_a_link_inside_is_refused_though_the_linked_file_is_right(
    shelf: Shelf, choosing: Choosing, tmp_path: Path, seen: Seen
) -> None:
    """F-C6: a link pointing outside from within a backup."""
    victim = relation_of(shelf)
    moved = tmp_path / "elsewhere"
    victim.rename(moved)
    victim.symlink_to(moved)
    seen(f"{victim.name} -> {victim.readlink()}")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "link" in reasons(choice)[shelf.newer.id]
    assert victim.name in reasons(choice)[shelf.newer.id]


@pytest.mark.fault("C7")
def test_the_files_of_another_cluster_or_an_entry_of_another_major_version_are_refused(
    shelf: Shelf, choosing: Choosing, client: docker.DockerClient, image_id: str, tmp_path: Path, seen: Seen
) -> None:
    """F-C7: backup of another cluster or other major version."""
    record(shelf.path, shelf.newer.model_copy(update={"server_version": "16.4 (Debian 16.4-1)"}))
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "it is of PostgreSQL 16, the server is 17" in reasons(choice)[shelf.newer.id]
    with running_server(client, image_id, tmp_path / "of another") as other:
        control = other.volume_path / "global" / "pg_control"
        identifier = str(other.ask("SELECT system_identifier FROM pg_control_system()"))
        assert identifier != shelf.newer.system_identifier
        # The files are another cluster's, though the entry says that they are this one's.
        record(shelf.path, shelf.newer)
        (shelf.data(shelf.newer) / "global" / "pg_control").write_bytes(control.read_bytes())
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert f"its control file is of system {identifier}" in reasons(choice)[shelf.newer.id]
    # And an honest entry of another cluster.
    record(shelf.path, shelf.newer.model_copy(update={"system_identifier": identifier}))
    expected = shelf.order(system_identifier=shelf.older.system_identifier)
    assert "another database system" in reasons(choosing.choose_backup(expected))[shelf.newer.id]
    seen(f"system {identifier} and PostgreSQL 16 under the name of {shelf.newer.id}")


def test_a_backup_whose_manifest_was_exchanged_or_lost_is_passed_over(
    shelf: Shelf, choosing: Choosing
) -> None:
    manifest = shelf.data(shelf.newer) / "backup_manifest"
    manifest.write_bytes((shelf.data(shelf.older) / "backup_manifest").read_bytes())
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "not the one that was recorded" in reasons(choice)[shelf.newer.id]
    manifest.unlink()
    (shelf.data(shelf.older) / "global" / "pg_control").write_bytes(b"")
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup is None
    assert "backup_manifest cannot be read" in reasons(choice)[shelf.newer.id]
    assert "control file" in reasons(choice)[shelf.older.id]


def test_a_gap_in_the_wal_is_named_and_only_an_untouched_chain_is_taken(
    shelf: Shelf, choosing: Choosing
) -> None:
    after_newer = sorted(path.name for path in shelf.wal.iterdir() if path.name > shelf.newer.start_segment)
    between = [
        path.name
        for path in sorted(shelf.wal.iterdir())
        if shelf.older.start_segment < path.name < shelf.newer.start_segment
    ]
    (shelf.wal / between[0]).unlink()
    excluded = (PassedOver(id=shelf.newer.id, reason="the copy failed its checks"),)
    choice = choosing.choose_backup(shelf.order(excluded=excluded))
    assert choice.backup is None
    assert reasons(choice) == {
        shelf.newer.id: "tried already in this recovery: the copy failed its checks",
        shelf.older.id: f"its WAL is not whole: {between[0]} missing or unusable",
    }
    assert choosing.choose_backup(shelf.order()).backup == shelf.newer
    with (shelf.wal / after_newer[0]).open("r+b") as file:
        file.truncate(1000)
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup is None
    assert after_newer[0] in reasons(choice)[shelf.newer.id]
    assert "dr backup now" in choice.missing


def test_a_segment_that_the_server_could_not_read_is_a_gap(shelf: Shelf, choosing: Choosing) -> None:
    segment = max(path for path in shelf.wal.iterdir() if len(path.name) == 24)
    assert choosing.choose_backup(shelf.order()).backup == shelf.newer
    beyond = segment.with_name(f"{int(segment.name, 16) + 1:024X}")
    shutil.copy2(segment, beyond)
    os.chown(segment, 0, 0)
    os.chown(beyond, 999, 999)
    segment.chmod(0o600)
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup is None
    assert segment.name in reasons(choice)[shelf.newer.id]


def test_backups_of_another_system_time_timeline_or_image_are_passed_over(
    shelf: Shelf, choosing: Choosing
) -> None:
    moment = shelf.newer.ended_at - timedelta(milliseconds=1)
    assert choosing.choose_backup(shelf.order(before=moment)).backup == shelf.older
    foreign = choosing.choose_backup(shelf.order(system_identifier="1"))
    assert foreign.backup is None
    assert "another database system" in reasons(foreign)[shelf.newer.id]
    later = choosing.choose_backup(shelf.order(timeline=2))
    assert later.backup is None
    assert "00000002.history is missing" in reasons(later)[shelf.newer.id]
    changed = shelf.newer.model_copy(update={"image_id": "sha256:0123456789abcdef"})
    record(shelf.path, changed)
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup == shelf.older
    assert "another image: 0123456789ab" in reasons(choice)[shelf.newer.id]


def test_without_room_or_image_nothing_is_chosen_and_what_is_missing_is_said(
    shelf: Shelf, choosing: Choosing
) -> None:
    record(shelf.path, shelf.newer.model_copy(update={"bytes": 10**16}))
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup is None
    assert "No room" in choice.missing
    assert choice.room_bytes is not None
    assert choice.needed_bytes is not None
    assert choice.room_bytes < choice.needed_bytes
    order = shelf.order()
    server = order.target.postgres.model_copy(update={"image_id": "sha256:" + "0" * 64})
    target = order.target.model_copy(update={"postgres": server})
    choice = choosing.choose_backup(ChooseOrder(target=target))
    assert choice.backup is None
    assert "image 000000000000 is not on this host" in choice.missing


def test_an_empty_shelf_says_how_to_get_a_backup(shelf: Shelf, choosing: Choosing) -> None:
    shutil.rmtree(shelf.path / "postgres" / "base")
    assert list_backups(shelf.path) == []
    choice = choosing.choose_backup(shelf.order())
    assert choice.backup is None
    assert "dr backup now" in choice.missing
