"""The enumeration of deaths itself: it finds a hand that leaves something, and one that works twice."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from tests.hands.dying import DeadError, Place, Trial, dies_everywhere, living


class Toy(Trial):
    """Puts one file on a shelf by way of a directory of the attempt."""

    def __init__(self, place: Path, *, clears: bool = True, looks: bool = True) -> None:
        super().__init__(place)
        self.place, self.clears, self.looks = place, clears, looks
        self.attempts = itertools.count()

    def begin(self) -> None:
        super().begin()
        for path in self.place.iterdir():
            shutil.rmtree(path)

    def act(self) -> None:
        if self.looks and list(self.place.glob("[!.]*")):
            return
        for left in self.place.glob(".*") if self.clears else ():
            shutil.rmtree(left)
        number = next(self.attempts)
        partial = self.place / f".{number:08x}.partial"
        partial.mkdir()
        try:
            (partial / "draft").write_text("content")
            (partial / "draft").replace(partial / "file")
            partial.rename(self.place / f"{number:08x}")
        finally:
            if partial.is_dir():
                shutil.rmtree(partial)

    def judge(self, said: object) -> None:
        assert said is None
        (entry,) = self.place.iterdir()
        assert [path.name for path in entry.iterdir()] == ["file"]


def seen_in(notes: list[str]) -> str:
    (said,) = notes
    return said


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_hand_that_converges_dies_at_every_effect_and_passes(tmp_path: Path, side: str) -> None:
    notes: list[str] = []
    dies_everywhere(Toy(tmp_path), notes.append, "before" if side == "before" else "after", at_least=3)
    assert f"died {side} each of 3 effects" in seen_in(notes)


def test_a_hand_that_does_not_clear_what_a_dead_attempt_left_is_found(tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError)) as found:
        dies_everywhere(Toy(tmp_path, clears=False), print, "before", at_least=3)
    assert any("file replace" in note for note in found.value.__notes__)


def test_a_hand_that_does_its_work_twice_is_found(tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError)) as found:
        dies_everywhere(Toy(tmp_path, looks=False), print, "after", at_least=3)
    assert any("file rename" in note for note in found.value.__notes__)


def test_after_its_death_nothing_of_an_attempt_has_an_effect(tmp_path: Path) -> None:
    with living((tmp_path,), [Place("file mkdir one", 1)], "after") as life:
        with pytest.raises(DeadError):
            (tmp_path / "one").mkdir()
        for change in (os.mkdir, os.rmdir):
            with pytest.raises(DeadError):
                change(tmp_path / ("two" if change is os.mkdir else "one"))
    assert life.died_at == Place("file mkdir one", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
