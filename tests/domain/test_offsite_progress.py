"""What a long transfer says of itself, and what several at once do when one of them fails."""

import threading
from contextvars import ContextVar

import pytest

from activities.offsite_progress import Progress
from activities.offsite_together import together

NAME: ContextVar[str] = ContextVar("name", default="nobody")


def test_progress_says_how_much_how_fast_and_what_is_left() -> None:
    now = [0.0]
    progress = Progress("off-site copy", 4_000_000_000, clock=lambda: now[0])
    progress.add(1_000_000_000)
    now[0] = 10.0
    assert progress.sentence() == (
        "off-site copy 25 %: 1.00 GB of 4.00 GB, 100.0 MB a second, about 30.0 s left"
    )
    progress.more(1_000_000_000)
    progress.add(4_000_000_000)
    assert progress.sentence() == "off-site copy 100 %: 5.00 GB of 5.00 GB, 500.0 MB a second"


def test_nothing_to_do_is_done() -> None:
    assert Progress("fetching", 0).sentence().startswith("fetching 100 %: 0.0 MB of 0.0 MB")


def test_several_at_once_answer_in_order_and_know_whose_they_are() -> None:
    token = NAME.set("an attempt")
    try:
        answers = together(
            lambda number: (number, NAME.get()),
            range(20),
            parallel=4,
            progress=Progress("", 0),
            stopped=threading.Event(),
        )
    finally:
        NAME.reset(token)
    assert answers == [(number, "an attempt") for number in range(20)]


def test_the_first_failure_stops_the_others_and_is_the_one_that_is_told() -> None:
    stopped, begun = threading.Event(), []

    def act(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("the first one")
        assert stopped.wait(30), "nobody stopped the others"

    with pytest.raises(ValueError, match="the first one"):
        together(act, range(100), parallel=2, progress=Progress("", 0), stopped=stopped)
    assert len(begun) <= 4
