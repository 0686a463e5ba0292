"""The whole shelf is lost: what comes back is what left, or it does not come back."""

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from activities.catalogue import list_backups, record
from activities.offsite_shelf import Shelved, look_inside
from activities.postgres.recorded import write_base
from domain.entries import RECORD
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.offsite_copies import FarFile, FarManifest
from domain.sealing import HEADER_BYTES
from tests.faults.record import Seen
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.place import (
    BASE,
    DUMP,
    NOW,
    RDB,
    SEGMENT_BYTES,
    SEGMENTS,
    Place,
    base,
    entry,
    some_bytes,
    tree,
)


def lose(place: Place) -> dict[str, bytes | None]:
    """Remove the whole shelf; return what was on it."""
    before = tree(place.shelf)
    shutil.rmtree(place.shelf)
    return before


def test_a_base_backup_and_its_wal_come_back_to_an_empty_shelf(place: Place) -> None:
    place.copy()
    before = lose(place)
    fetched = place.fetch()
    assert (fetched.id, fetched.path) == (BASE, f"postgres/base/{BASE}")
    mine = f"postgres/base/{BASE}/"
    junk = f"{mine}data/base/5/junk.tmp"
    wanted = {path: held for path, held in before.items() if path.startswith(mine) and path != junk}
    after = tree(place.shelf)
    assert {path: held for path, held in after.items() if path.startswith(mine)} == wanted
    archive = {Path(path).name for path in after if path.startswith("postgres/wal/0001/")}
    # Not the segment before the backup's start; nothing unfinished.
    assert archive == {*SEGMENTS[1:], "00000002.history"}
    assert fetched.segments == len(archive)
    for name in SEGMENTS[1:]:
        assert after[f"postgres/wal/0001/{name}"] == before[f"postgres/wal/0001/{name}"]
    (backup,) = list_backups(place.shelf)
    assert backup.id == BASE
    modes = {path.stat().st_mode & 0o777 for path in (place.shelf / "postgres").rglob("*")}
    assert modes == {0o700, 0o600}


def test_what_a_base_backup_held_goes_and_comes_with_it(place: Place) -> None:
    (backup,) = list_backups(place.shelf)
    directory = place.shelf / "postgres" / "base" / BASE
    held = backup.contents.model_copy(update={"roles": ("postgres",)})
    known = write_base(directory, backup.model_copy(update={"contents": held}))
    record(place.shelf, known)
    place.copy()
    said = (directory / RECORD).read_bytes()
    lose(place)
    place.fetch()
    assert (directory / RECORD).read_bytes() == said
    assert list_backups(place.shelf) == [known]
    (directory / RECORD).write_bytes(b"cut")
    with pytest.raises(BackupUnusable, match=RECORD):
        look_inside(Shelved("postgres", "base", BASE, directory))


def test_what_is_there_already_stays_as_it_is(place: Place) -> None:
    place.copy()
    before = tree(place.shelf)
    fetched = place.fetch()
    assert fetched.segments == 0
    assert tree(place.shelf) == before


def test_the_newest_base_backup_is_meant_and_any_entry_by_its_id(place: Place) -> None:
    newer = BASE.replace("T01", "T09")
    base(place, newer)
    place.copy()
    lose(place)
    assert place.fetch(wal=False).id == newer
    assert place.fetch(RDB).path == f"redis/rdb/{RDB}"
    assert place.fetch(DUMP).store == "postgres"
    assert not (place.shelf / "postgres" / "wal").exists()


def test_a_fetch_that_was_cut_off_goes_on(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    place.copy()
    before = lose(place)
    between.troubles.append(Trouble("cut", "GET", "files/data/global/pg_control", times=1000))
    with pytest.raises(Unavailable):
        place.fetch(wal=False)
    partial = place.shelf / "postgres" / "base" / f".{BASE}.fetching"
    assert (partial / "data" / "base" / "5" / "16384").is_file()
    assert list_backups(place.shelf) == []
    # What a killed attempt left half-written is no part of it.
    (partial / "data" / ".16384.abcdef01.new").write_bytes(b"half")
    (partial / "data" / "base" / "1" / "1259").write_bytes(b"not what came")
    between.troubles.clear()
    between.requests.clear()
    place.fetch(wal=False)
    assert between.count("GET", "files/data/base/5/16384") == 0
    assert between.count("GET", "files/data/base/1/1259") == 1
    after = tree(place.shelf / "postgres" / "base" / BASE)
    mine = f"postgres/base/{BASE}/"
    del before[f"{mine}data/base/5/junk.tmp"]
    assert after == {path.removeprefix(mine): held for path, held in before.items() if path.startswith(mine)}


def test_a_copy_that_was_never_finished_is_not_fetched(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    between.troubles.append(Trouble("error", "PUT", f"{BASE}/manifest", times=1000))
    with pytest.raises(Unavailable):
        place.copy()
    lose(place)
    with pytest.raises(Refused, match="offsite-missing"):
        place.fetch()
    listed = place.list()
    assert {one.id: one.finished for one in listed.entries}[BASE] is False


def test_an_older_key_that_is_gone_is_named_though_the_newest_copies_open(place: Place) -> None:
    place.copy()
    (older,) = place.keys.directory.glob("*.key")
    newest = place.keys.new(NOW + timedelta(days=1))
    for store, kind, content in (("postgres", "daily", b"later"), ("redis", "rdb", b"later still")):
        entry(place, store, kind, f"20260302T020000Z-{kind}", {"file": content})
    place.copy()
    assert place.list().unopened == ()
    older.rename(place.directory / "escrow")
    listed = place.list()
    assert {one.key_id for one in listed.entries if one.id.startswith("20260302")} == {newest.id}
    (said,) = listed.unopened
    assert said.endswith(f"cannot be opened here: the backup key {older.stem} is not on this host")
    (place.directory / "escrow").rename(older)
    assert place.list().unopened == ()


@pytest.mark.fault("C11")
def test_without_its_key_no_copy_is_opened(place: Place, seen: Seen) -> None:
    """F-C11: encryption key missing or wrong."""
    place.copy()
    lose(place)
    (path,) = place.keys.directory.glob("*.key")
    path.rename(place.directory / "escrow")
    seen("the key file is gone from the host")
    with pytest.raises(Refused, match="backup-key-missing") as refused:
        place.fetch()
    assert path.stem in refused.value.what
    assert not (place.shelf / "postgres" / "base" / BASE).exists()
    listed = place.list()
    assert {one.checked for one in listed.entries} == {False}
    assert {one.problem for one in listed.entries} == {f"the backup key {path.stem} is not on this host"}
    assert len(listed.unopened) == 1
    (place.directory / "escrow").rename(path)
    assert {one.problem for one in place.list().entries} == {""}
    assert place.fetch().id == BASE


@pytest.mark.fault("C3")
@pytest.mark.parametrize("at", [0, 20, HEADER_BYTES + 5, -1], ids=["magic", "salt", "nonce", "tag"])
def test_a_flipped_bit_on_the_far_side_is_found(place: Place, seen: Seen, at: int) -> None:
    """F-C3: corrupt (bit flip): the object was changed where it lies."""
    place.copy()
    key = place.key_of(RDB, "dump.rdb")
    changed = bytearray(place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read())
    changed[at] ^= 1
    place.client.put_object(Bucket=place.bucket, Key=key, Body=bytes(changed))
    seen(f"one bit of the object flipped at {at}")
    (place.shelf / "redis" / "rdb" / RDB).rename(place.directory / "away")
    with pytest.raises((BackupUnusable, Refused)):
        place.fetch(RDB)
    assert not (place.shelf / "redis" / "rdb" / RDB).exists()


@pytest.mark.fault("C2")
def test_a_truncated_object_is_found(place: Place, seen: Seen) -> None:
    """F-C2: truncated: the object ends behind a whole chunk."""
    place.copy()
    key = place.key_of(DUMP, "nchat.dump")
    whole = place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read()
    step = 1024 * 1024 + 28
    place.client.put_object(Bucket=place.bucket, Key=key, Body=whole[: HEADER_BYTES + 4 * step])
    seen(f"{4 * step} of {len(whole)} bytes are left")
    listed = {one.id: one.checked for one in place.list().entries}
    assert listed[DUMP] is False
    assert listed[BASE] is True
    (place.shelf / "postgres" / "daily" / DUMP).rename(place.directory / "away")
    with pytest.raises(BackupUnusable, match="seal-broken") as broken:
        place.fetch(DUMP)
    assert broken.value.where == key


def test_an_object_under_another_name_does_not_open(place: Place) -> None:
    place.copy()
    first, second = (f"copies/lab/postgres/wal/0001/{name}.sealed" for name in SEGMENTS[1:3])
    held = place.client.get_object(Bucket=place.bucket, Key=first)["Body"].read()
    place.client.put_object(Bucket=place.bucket, Key=second, Body=held)
    lose(place)
    with pytest.raises(BackupUnusable, match="seal-broken"):
        place.fetch()
    assert not (place.shelf / "postgres" / "wal" / "0001" / SEGMENTS[2]).exists()


def test_the_zeros_of_a_segment_that_was_switched_early_stay_here(place: Place) -> None:
    name = "00000001000000000000000A"
    segment = some_bytes(5000, 1) + bytes(SEGMENT_BYTES - 5000)
    (place.shelf / "postgres" / "wal" / "0001" / name).write_bytes(segment)
    place.copy()
    assert place.far()[f"copies/lab/postgres/wal/0001/{name}.sealed"] < 6000
    assert place.copy().segments == 0
    lose(place)
    place.fetch()
    assert (place.shelf / "postgres" / "wal" / "0001" / name).read_bytes() == segment


def test_a_segment_in_clear_is_compared_with_what_was_noted_when_it_left(make: Make) -> None:
    place = make(encrypt=False)
    place.copy()
    lose(place)
    assert place.fetch().segments == len(SEGMENTS)
    key = f"copies/lab/postgres/wal/0001/{SEGMENTS[-1]}"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=b"x" * 256 * 1024)
    (place.shelf / "postgres" / "wal" / "0001" / SEGMENTS[-1]).unlink()
    with pytest.raises(BackupUnusable, match="offsite-damaged"):
        place.fetch()


def test_a_copy_in_clear_that_was_changed_does_not_become_a_backup(make: Make) -> None:
    place = make(encrypt=False)
    place.copy()
    key = place.key_of(RDB, "dump.rdb")
    size = place.far()[key]
    (place.shelf / "redis" / "rdb" / RDB).rename(place.directory / "away")
    for body in (b"x" * size, b"x" * (size - 1), b"x" * (size + 1), b""):
        place.client.put_object(Bucket=place.bucket, Key=key, Body=body)
        with pytest.raises(BackupUnusable, match="offsite-damaged"):
            place.fetch(RDB)
        assert not (place.shelf / "redis" / "rdb" / RDB).exists()


@pytest.mark.fault("K1")
@pytest.mark.parametrize("path", ["../../../../escaped", "/escaped", "data/../../escaped", "..\\escaped"])
def test_a_manifest_that_leads_elsewhere_is_refused(make: Make, seen: Seen, path: str) -> None:
    """F-K1: a path in the far catalogue that leads out of the shelf."""
    place = make(encrypt=False)
    prefix = "copies/lab/redis/rdb/20260302T000000Z-rdb"
    file = FarFile(
        path=path, bytes=1, sha256="0" * 64, key=f"{prefix}/files/x", far_bytes=1, far_sha256="0" * 64
    )
    forged = FarManifest(
        stack="lab", store="redis", kind="rdb", id="20260302T000000Z-rdb", files=(file,), entry="{}"
    )
    place.client.put_object(
        Bucket=place.bucket, Key=f"{prefix}/manifest.json", Body=forged.model_dump_json().encode()
    )
    seen(f"the manifest names {path}")
    before = tree(place.directory)
    with pytest.raises(BackupUnusable, match="offsite-manifest"):
        place.fetch("20260302T000000Z-rdb")
    ours = re.compile(r"state/(fence|locks)\b")
    after = tree(place.directory)
    assert {p for p in after if not ours.match(p)} == {p for p in before if not ours.match(p)}


@pytest.mark.mutant("M16")
def test_a_manifest_in_clear_is_not_taken_where_encryption_is_required(place: Place) -> None:
    """M16: plaintext where encryption is required."""
    prefix = "copies/lab/redis/rdb/20260302T000000Z-rdb"
    forged = FarManifest(stack="lab", store="redis", kind="rdb", id="20260302T000000Z-rdb", entry="{}")
    for name in ("manifest.json", "manifest.sealed"):
        place.client.put_object(
            Bucket=place.bucket, Key=f"{prefix}/{name}", Body=forged.model_dump_json().encode()
        )
    with pytest.raises(Refused, match="not-sealed"):
        place.fetch("20260302T000000Z-rdb")


def test_an_entry_that_slept_in_the_archive_is_asked_back(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint)
    place.copy()
    (place.shelf / "redis" / "rdb" / RDB).rename(place.directory / "away")
    between.troubles.append(
        Trouble("error", "GET", f"{RDB}/files", times=1, status=403, code="InvalidObjectState")
    )
    between.troubles.append(
        Trouble("error", "POST", f"{RDB}/files.*restore", status=409, code="RestoreAlreadyInProgress")
    )
    with pytest.raises(Unavailable, match="offsite-archived"):
        place.fetch(RDB)
    assert between.count("POST", "restore") == 1
    assert place.fetch(RDB).id == RDB


def test_the_list_says_what_is_there_and_what_is_not_ours(place: Place) -> None:
    place.copy()
    place.client.put_object(Bucket=place.bucket, Key="copies/lab/strange", Body=b"x")
    listed = place.list()
    assert {(one.id, one.finished, one.checked) for one in listed.entries} == {
        (BASE, True, True),
        (DUMP, True, True),
        (RDB, True, True),
    }
    assert (listed.segments, listed.newest_segment) == (len(SEGMENTS), SEGMENTS[-1])
    assert [one.id for one in listed.strangers] == ["copies/lab/strange"]
    assert {one.key_id for one in listed.entries} == {place.keys.current().id}
