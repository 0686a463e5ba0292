"""Entries of the catalogue, judged without a shelf."""

import hashlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.backups import Level
from domain.choice import why_unfit
from domain.contents import Contents, DatabaseState, TableState
from domain.entries import KINDS, Entry, StoredFile, bare, entry_of, files_sha256, newest_first, shown
from tests.domain.test_backups import backup, order

NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
FILES = st.lists(
    st.builds(
        StoredFile,
        path=st.text("abc/.", min_size=1, max_size=8),
        bytes=st.integers(0, 10**12),
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda file: file.path,
)


def entry(name: str = "20261122T020000Z-daily", **more: object) -> Entry:
    values = {
        "store": "postgres",
        "kind": "daily",
        "path": f"postgres/daily/{name}",
        "bytes": 1,
        "sha256": "",
    }
    times = {"started_at": NOW, "ended_at": NOW}
    return Entry.model_validate({"id": name, **values, **times, **more})


def test_a_base_backup_is_an_entry_of_its_directory_with_its_source_and_its_oldest_wal() -> None:
    seen = entry_of(
        backup(
            "20261122T010000Z-base", verified=Level.MANIFEST, verified_at=NOW, sha256="ab", reason="nightly"
        )
    )
    assert seen.path == "postgres/base/20261122T010000Z-base"
    assert (seen.source.system_identifier, seen.source.timeline) == ("77", 1)
    assert seen.source.version == "17.11 (Debian 17.11-1)"
    assert seen.start_segment == "000000010000000000000003"
    assert (seen.verified, seen.verified_by, seen.sha256) == (Level.MANIFEST, "pg_verifybackup", "ab")
    assert seen.reason == "nightly"


def test_what_verified_a_base_backup_is_kept_and_one_that_was_not_names_nothing() -> None:
    by_hand = entry_of(backup(verified=Level.RESTORED, verified_by="a drill"))
    assert by_hand.verified_by == "a drill"
    assert entry_of(backup()).verified_by == ""


def test_every_kind_of_a_backup_belongs_to_one_store() -> None:
    kinds = [kind for kinds in KINDS.values() for kind in kinds]
    assert len(kinds) == len(set(kinds))


def test_the_digest_of_a_list_of_files_is_that_of_its_lines() -> None:
    files = [StoredFile(path="b", bytes=2, sha256="b" * 64), StoredFile(path="a", bytes=1, sha256="a" * 64)]
    lines = f"{'a' * 64}  1  a\n{'b' * 64}  2  b\n"
    assert files_sha256(files) == hashlib.sha256(lines.encode()).hexdigest()


@given(FILES)
def test_the_digest_of_a_list_of_files_knows_no_order(files: list[StoredFile]) -> None:
    assert files_sha256(files) == files_sha256(reversed(files))


@given(FILES)
def test_the_digest_of_a_list_of_files_changes_with_every_part_of_it(files: list[StoredFile]) -> None:
    first = files[0]
    for change in ({"bytes": first.bytes + 1}, {"path": f"{first.path}x"}, {"sha256": "f" * 63 + "x"}):
        assert files_sha256([first.model_copy(update=change), *files[1:]]) != files_sha256(files)
    assert files_sha256(files[1:]) != files_sha256(files)


def test_of_two_that_ended_together_the_id_decides() -> None:
    older, a, b = entry("a", ended_at=NOW - timedelta(days=1)), entry("b"), entry("c")
    assert [one.id for one in newest_first([a, older, b])] == ["c", "b", "a"]


def test_an_answer_names_what_it_leaves_out() -> None:
    tables = tuple(TableState(name=f"public.t{n}", rows=1) for n in range(900))
    databases = tuple(DatabaseState(name=name, tables=tables) for name in ("one", "two"))
    files = tuple(StoredFile(path=f"f{n}", bytes=1, sha256="a" * 64) for n in range(150))
    seen = shown(entry(contents=Contents(databases=databases), files=files, sentence="Taken"))
    assert [len(database.tables) for database in seen.contents.databases] == [900, 100]
    assert len(seen.files) == 100
    assert seen.sentence == "Taken; 800 more tables are in its dr.json; 50 more files are in its dr.json"
    small = entry(contents=Contents(databases=databases[:1]), sentence="Taken")
    assert shown(small) == small
    assert bare(small).contents == Contents()


def test_a_rebuilt_backup_whose_image_is_not_known_is_judged_by_its_version() -> None:
    assert why_unfit(backup(image_id=""), order(), major="17") == ""
    assert "of PostgreSQL 17, the server is 18" in why_unfit(backup(image_id=""), order(), major="18")
