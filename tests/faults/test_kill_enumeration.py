"""Disturbed at any effect, a recovery ends as an undisturbed one: real server, containers and damage."""

from collections import Counter

import pytest

from tests.faults.harness.enumeration import boundaries, each_kind, few_in_each_step, spread
from tests.faults.harness.plan import Effect, Plan, Side
from tests.faults.harness.stand import Ended, FaultStand, assert_fired, assert_undisturbed
from tests.faults.record import Seen

pytestmark = [pytest.mark.kill, pytest.mark.timeout(3600)]
MOST_DANGEROUS = ("ensure_last_wal", "ensure_promoted", "ensure_swapped_in", "ensure_serving")
SIDES: tuple[Side, ...] = ("before", "after")


@pytest.fixture(scope="session")
def undisturbed(fault_stand: FaultStand) -> list[Effect]:
    """Return the effects that a recovery has each time; one that comes and goes cannot be aimed at."""
    runs = []
    for _ in range(2):
        ended = fault_stand.disturbed_recovery()
        assert_undisturbed(fault_stand, ended)
        fault_stand.release(ended.report["recovery_id"])
        runs.append(ended.effects)
    places = {effect.place for effect in runs[1]}
    found = [effect for effect in runs[0] if effect.place in places]
    assert len(found) > max(150, 0.95 * len(runs[0])), "a recovery changes more than that"
    return found


def recovered(stand: FaultStand, seen: Seen, *plans: Plan) -> Ended:
    """Recover under faults, see that they fired and that nothing came of them."""
    ended = disturbed(stand, seen, *plans)
    assert_fired(ended)
    return ended


def disturbed(stand: FaultStand, seen: Seen, *plans: Plan) -> Ended:
    ended = stand.disturbed_recovery(*plans)
    assert_undisturbed(stand, ended)
    for fired in stand.folder.fired():
        seen(fired)
    stand.release(ended.report["recovery_id"])
    return ended


def strike_everywhere(stand: FaultStand, seen: Seen, runs: list[list[Plan]]) -> int:
    """Strike at all these places and return how many there were.

    A strike can make a later one of its step pass by: what was not met is struck again, once a step.
    """
    missed = [plan for plans in runs for plan in disturbed(stand, seen, *plans).unfired]
    again = max(Counter(plan.step for plan in missed).values(), default=0)
    for plans in spread(missed, again):
        recovered(stand, seen, *plans)
    return sum(len(plans) for plans in runs)


def killed(report: dict[str, object]) -> int:
    flags = report["interruptions_survived"]
    assert isinstance(flags, list)
    return sum(flag["kind"] == "worker_killed" for flag in flags)


@pytest.mark.fault("A1")
@pytest.mark.fault("A2")
def test_a_worker_killed_around_the_exchange_and_the_steps_beside_it_changes_nothing(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen
) -> None:
    """F-A1, F-A2: worker killed before and after an effect, in the steps that must not be done twice."""
    dangerous = [
        effect for effect in undisturbed if effect.step in MOST_DANGEROUS and effect.client == "docker"
    ]
    at = {step: [effect for effect in dangerous if effect.step == step] for step in MOST_DANGEROUS}
    plans = [
        Plan.at(at["ensure_last_wal"][0], "after", "kill"),
        Plan.at(at["ensure_promoted"][-1], "before", "kill"),
        Plan.at(at["ensure_swapped_in"][0], "after", "kill"),
        Plan.at(at["ensure_serving"][0], "after", "kill"),
    ]
    ended = recovered(stand, seen, *plans)
    assert killed(ended.report) >= len(plans)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_every_effect_of_a_recovery_may_fail_once(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: every effect fails before it happened, and after it happened without being acknowledged."""
    runs = few_in_each_step(undisturbed, side, "raise", 3)
    assert strike_everywhere(stand, seen, runs) == len(undisturbed)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.fault("A1", at_length=True)
@pytest.mark.fault("A2", at_length=True)
def test_a_worker_killed_at_each_kind_of_effect_changes_nothing(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at one effect of each kind."""
    kinds = each_kind(undisturbed, side)
    assert strike_everywhere(stand, seen, spread(kinds, 4)) == len(kinds) > 10


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.fault("A1", nightly=True)
@pytest.mark.fault("A2", nightly=True)
def test_a_worker_killed_at_every_effect_changes_nothing(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen, side: Side
) -> None:
    """F-A1, F-A2: worker killed with SIGKILL at every effect, one in each step of a run."""
    runs = few_in_each_step(undisturbed, side, "kill", 1)
    assert strike_everywhere(stand, seen, runs) == len(undisturbed)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.fault("A5", at_length=True)
def test_a_temporal_server_killed_at_every_boundary_of_the_steps_changes_nothing(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen, side: Side
) -> None:
    """F-A5: Temporal server killed with SIGKILL and started again at every step boundary."""
    ended = recovered(stand, seen, *boundaries(undisturbed, side, "temporal"))
    assert killed(ended.report) == 0


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.fault("A5", at_length=True)
def test_worker_and_temporal_server_killed_together_at_every_boundary_change_nothing(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen, side: Side
) -> None:
    """F-A5: Temporal server killed together with the worker at every step boundary."""
    for plans in spread(boundaries(undisturbed, side, "temporal", "worker"), 3):
        recovered(stand, seen, *plans)


@pytest.mark.fault("A2", at_length=True)
def test_the_enumeration_finds_a_hand_that_is_not_safe_to_run_twice(
    stand: FaultStand, undisturbed: list[Effect], seen: Seen
) -> None:
    """F-A2: a hand that forgets its earlier attempt leaves two backups; the comparison must say so."""
    assert undisturbed
    stand.folder.forget("ensure_base_backup")
    try:
        ended = stand.disturbed_recovery(Plan("ensure_base_backup", "step", "hand", 1, "after", "raise"))
    finally:
        stand.folder.forget("")
    with pytest.raises(AssertionError):
        assert_undisturbed(stand, ended)
    assert ended.after["base backups"] == ended.before["base backups"] + 2
    seen(stand.folder.fired()[0])
    stand.release(ended.report["recovery_id"])
