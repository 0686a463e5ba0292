"""Snapshots and dumps of a real engine: taken, read, loaded elsewhere, compared."""

import hashlib
import shutil
import tarfile

import pytest

from activities import entries
from activities.search_backup import SearchBackups
from domain.backups import Level
from domain.entries import Entry, files_sha256
from domain.errors import BackupUnusable, Refused
from domain.holdings import MOVING, Holding
from domain.order import Target, VolumeMount
from domain.store_backups import StoreBackupOrder
from tests.faults.record import Seen
from tests.hands.search_store.conftest import KEY, MESSAGES, NOTES, SearchStand

pytestmark = pytest.mark.timeout(300)


def held(stand: SearchStand, entry: Entry) -> dict[str, Holding]:
    return {one.name: one for one in entries.find_entry(stand.shelf, entry.id).held}


def test_a_snapshot_and_a_dump_are_taken_with_what_they_hold_and_can_be_loaded(search: SearchStand) -> None:
    taken = search.back_up("nightly")
    assert set(taken) == {"snapshot", "dump"}
    for entry in taken.values():
        assert entry.verified is Level.MANIFEST
        assert entry.source.version == "1.6.2"
        known = held(search, entry)
        assert {name: one.count for name, one in known.items()} == {"messages": 250, "notes": 7}
        assert len(known["messages"].samples) <= 100
        assert known["messages"].digest
    assert search.back_up("nightly") == taken, "a second call finds the first one's"
    for entry in taken.values():
        found = search.verify(entry)
        assert found.passed, found.proofs
        assert found.entry.verified is Level.RESTORED
        assert KEY not in found.model_dump_json()
    assert search.left() == [], "nothing of checks and fetches is left"
    listed = search.engine.run(search.container, ("ls", "/meili_data/dumps"))
    assert listed.output.split() == [], "a fetched dump does not fill the engine's volume"
    assert search.count("messages") == 250


def test_documents_that_were_lost_after_the_backup_do_not_disturb_its_proof(search: SearchStand) -> None:
    taken = search.back_up()
    search.done("POST", "/indexes/messages/documents/delete-batch", [one["id"] for one in MESSAGES[:100]])
    assert search.verify(taken["snapshot"]).passed
    assert search.verify(taken["dump"]).passed


@pytest.mark.mutant("M21")
def test_a_backup_with_fewer_more_or_other_documents_is_not_proven(search: SearchStand) -> None:
    """M21: search documents missing, surplus or with other content, under the same list of files."""
    sound = search.back_up()["dump"]
    for change in ("missing", "surplus", "other"):
        if change == "missing":
            search.done("POST", "/indexes/notes/documents/delete-batch", [3])
        elif change == "surplus":
            search.done("POST", "/indexes/notes/documents", [NOTES[3], {"id": 99, "text": "surplus"}])
        else:
            search.done("POST", "/indexes/notes/documents/delete-batch", [99])
            search.done("POST", "/indexes/notes/documents", [{"id": 3, "text": "said otherwise"}])
        other = search.back_up()["dump"]
        forge(search, other, sound)
        found = search.verify(other)
        assert found.passed is False, change
        assert [proof.name for proof in found.proofs if proof.passed is False] == ["notes"]
        assert found.entry.verified is Level.NONE


def forge(stand: SearchStand, entry: Entry, sound: Entry) -> None:
    """Have a backup say that it holds what another one held."""
    directory = entries.directory_of(stand.shelf, entry)
    known = entries.find_entry(stand.shelf, entry.id)
    other = entries.find_entry(stand.shelf, sound.id)
    entries.write_entry(directory, known.model_copy(update={"held": other.held}))


@pytest.mark.long
def test_what_is_written_to_while_it_is_backed_up_is_proven_by_what_stayed(
    search: SearchStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SearchBackups._tried
    rounds: list[int] = []

    def disturbed(self: SearchBackups, server: object, place: object, journal: str) -> object:
        rounds.append(1)
        do = server.do  # type: ignore[attr-defined]

        def writing(path: str, what: str, *told: object) -> object:
            if path == "/snapshots":
                new = {"id": f"new{len(rounds)}", "content": "written meanwhile"}
                search.done("POST", "/indexes/messages/documents", [new])
            return do(path, what, *told)

        server.do = writing  # type: ignore[attr-defined]
        return real(self, server, place, journal)  # type: ignore[arg-type]

    monkeypatch.setattr(SearchBackups, "_tried", disturbed)
    taken = search.back_up()
    assert len(rounds) == 2, "it was tried once more"
    known = held(search, taken["snapshot"])
    assert set(known) == {f"messages{MOVING}", "notes"}
    listed = search.engine.run(search.container, ("ls", "/meili_data/dumps"))
    assert listed.output.split() == [], "neither dump fills the engine's volume"
    assert known[f"messages{MOVING}"].count == len(known[f"messages{MOVING}"].samples) > 80
    for entry in taken.values():
        found = search.verify(entry)
        assert found.passed, found.proofs


def test_a_backup_that_was_cut_off_is_not_loaded_and_loses_its_level(search: SearchStand) -> None:
    entry = search.back_up()["snapshot"]
    file = entries.directory_of(search.shelf, entry) / "search.snapshot"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(BackupUnusable):
        search.verify(entry)
    assert entries.find_entry(search.shelf, entry.id).verified is Level.NONE


def test_a_file_that_its_own_checksum_speaks_against_is_not_proven_though_the_entry_agrees(
    search: SearchStand,
) -> None:
    """The engine loads it: it reads gzip without its checksum."""
    for kind, entry in search.back_up().items():
        directory = entries.directory_of(search.shelf, entry)
        file = directory / f"search.{kind}"
        content = bytearray(file.read_bytes())
        # The checksum is the first four of the last eight bytes.
        content[-8] ^= 1
        file.write_bytes(content)
        known = entries.find_entry(search.shelf, entry.id)
        files = tuple(
            one.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
            if one.path == file.name
            else one
            for one in known.files
        )
        entries.write_entry(
            directory, known.model_copy(update={"files": files, "sha256": files_sha256(files)})
        )
        found = search.verify(entry)
        assert found.passed is False
        assert [proof.name for proof in found.proofs if proof.passed is False] == ["read"]
        assert found.entry.verified is Level.NONE


def test_what_a_dead_attempt_left_is_removed(search: SearchStand, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        message = "killed"
        raise KeyboardInterrupt(message)

    with monkeypatch.context() as patch:
        patch.setattr("activities.search_backup.read_through", killed)
        patch.setattr("activities.search_backup.clear", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            search.back_up("nightly")
    assert list(search.shelf.rglob("*.partial"))
    taken = search.back_up("nightly")
    assert not list(search.shelf.rglob("*.partial"))
    assert search.verify(taken["dump"]).passed


def test_an_engine_whose_data_are_in_no_volume_is_refused(search: SearchStand) -> None:
    target = search.target
    (service,) = target.services
    for volumes in ((), (VolumeMount(volume="elsewhere", path="/elsewhere"),)):
        bare = service.model_copy(update={"volumes": volumes})
        changed: Target = target.model_copy(update={"services": (bare,)})
        with pytest.raises(Refused) as error:
            search.backups.ensure_search_backup(StoreBackupOrder(target=changed, label="x"))
        assert error.value.code == "search-no-volume"


@pytest.mark.fault("J10")
def test_a_snapshot_of_another_version_is_refused_with_the_reason_and_what_fits_instead(
    search: SearchStand, seen: Seen
) -> None:
    """F-J10: search snapshot of another version."""
    taken = search.back_up()
    forge_version(search, taken["snapshot"], "1.5.0")
    before = search.client.api.inspect_container(search.container)["State"]["StartedAt"]
    with pytest.raises(Refused) as error:
        search.restore(taken["snapshot"], "20261122T0400Z-aaaaaaaa")
    seen(str(error.value))
    assert error.value.code == "search-version"
    assert "1.5.0" in error.value.what
    assert "1.6.2" in error.value.what
    assert taken["dump"].id in error.value.hint
    assert "rebuilt from SQL" in error.value.hint
    assert search.client.api.inspect_container(search.container)["State"]["StartedAt"] == before
    assert search.left() == []


def forge_version(stand: SearchStand, entry: Entry, version: str) -> None:
    """Have the entry say another version; what is in the file is not asked before anything is loaded."""
    directory = entries.directory_of(stand.shelf, entry)
    known = entries.find_entry(stand.shelf, entry.id)
    source = known.source.model_copy(update={"version": version})
    entries.write_entry(directory, known.model_copy(update={"source": source}))


def test_the_archives_are_what_the_engine_documents(search: SearchStand) -> None:
    taken = search.back_up()
    for kind, needed in (("snapshot", "VERSION"), ("dump", "metadata.json")):
        path = entries.directory_of(search.shelf, taken[kind]) / f"search.{kind}"
        copied = search.state / kind
        shutil.copy(path, copied)
        with tarfile.open(copied) as archive:
            assert needed in archive.getnames()
