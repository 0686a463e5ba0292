"""The phases of a run."""

import inspect

from domain.phases import BEGIN, PHASES, phase_at
from worker import wiring


def test_a_run_begins_with_a_look_and_keeps_its_phase_until_a_hand_begins_another() -> None:
    assert phase_at("observe_stack", "") == BEGIN
    assert phase_at("choose_backup", BEGIN) == "copy"
    assert phase_at("ensure_restored", "copy") == "copy"


def test_every_hand_that_begins_a_phase_is_a_hand_of_the_product() -> None:
    wired = inspect.getsource(wiring.Hands)
    assert [hand for hand in PHASES if f".{hand}" not in wired] == []
