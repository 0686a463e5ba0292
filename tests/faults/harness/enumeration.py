"""Which faults make up an enumeration: every effect of an undisturbed run, on both sides."""

import math
from collections import defaultdict

from tests.faults.harness.plan import Act, Effect, Plan, Side, Victim

BOUNDARY = "step"
"""The client of the beginnings and ends of hands."""


def few_in_each_step(effects: list[Effect], side: Side, act: Act, at_most: int) -> list[list[Plan]]:
    """Return runs that together strike at every effect, at most so often in one step of one run.

    The strikes in a step lie apart and in order: each attempt gets further than the one before, and the
    last one ends the step. The next step's faults come later in the same run.
    """
    by_step: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_step[effect.step].append(effect)
    runs = math.ceil(max(len(found) for found in by_step.values()) / at_most)
    return [
        [Plan.at(effect, side, act) for found in by_step.values() for effect in found[turn::runs]]
        for turn in range(runs)
    ]


def each_kind(effects: list[Effect], side: Side) -> list[Plan]:
    """Return one SIGKILL for each kind of effect, at the last effect of the kind in a run."""
    last = {effect.kind: effect for effect in effects}
    return [Plan.at(effect, side, "kill") for effect in last.values()]


def boundaries(effects: list[Effect], side: Side, *victims: Victim) -> list[Plan]:
    """Return a SIGKILL of the victims at every boundary of the steps."""
    return [Plan.at(effect, side, "kill", victims) for effect in effects if effect.client == BOUNDARY]


def spread(plans: list[Plan], runs: int) -> list[list[Plan]]:
    """Deal plans out to a number of runs, so that no run has two in one step where it can be helped."""
    dealt: list[list[Plan]] = [[] for _ in range(runs)]
    for plan in plans:
        fewest = min(dealt, key=lambda have: (sum(p.step == plan.step for p in have), len(have)))
        fewest.append(plan)
    return [run for run in dealt if run]
