"""Backups of the search engine that lost their entry: loaded again, known again, and proven as before."""

import pytest

from activities import entries
from activities.rebuild import Rebuilding
from activities.tokens import Tokens
from domain.backups import Level
from domain.dumps import Rebuilt
from domain.entries import ENTRY
from domain.order import TargetOrder
from tests.hands.search_store.conftest import SearchStand

pytestmark = [pytest.mark.hand, pytest.mark.timeout(300)]


def rebuilt(stand: SearchStand) -> Rebuilt:
    hand = Rebuilding(stand.engine, Tokens(stand.state), stand.state)
    return hand.ensure_catalogue_rebuilt(TargetOrder(target=stand.target))


def test_a_snapshot_and_a_dump_are_known_again_and_proven(search: SearchStand) -> None:
    made = {kind: entries.find_entry(search.shelf, one.id) for kind, one in search.back_up().items()}
    for entry in made.values():
        (search.shelf / entry.path / ENTRY).unlink()
    said = rebuilt(search)
    assert (sorted(said.rebuilt), said.problems) == (sorted(one.id for one in made.values()), ())
    for entry in made.values():
        again = entries.find_entry(search.shelf, entry.id)
        for name in ("path", "bytes", "sha256", "files", "held"):
            assert getattr(again, name) == getattr(entry, name), name
        assert again.source.version == entry.source.version
        assert (again.verified, again.rebuilt) == (Level.NONE, True)
        proven = search.verify(again)
        assert proven.passed, proven.proofs
    assert search.left() == []


def test_a_file_that_is_cut_off_stays_without_an_entry(search: SearchStand) -> None:
    made = search.back_up()
    for entry in made.values():
        (search.shelf / entry.path / ENTRY).unlink()
    dump = next((search.shelf / made["dump"].path).glob("search.*"))
    dump.write_bytes(dump.read_bytes()[:-50])
    said = rebuilt(search)
    assert said.rebuilt == (made["snapshot"].id,)
    assert "cannot be read to its end" in said.problems[0]
    assert not (search.shelf / made["dump"].path / ENTRY).exists()
