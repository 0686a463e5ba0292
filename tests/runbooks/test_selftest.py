"""The self-test as the Web UI starts it: three hands, one sum."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain import names
from domain.order import TargetOrder
from domain.selftest import CONTROLS, MUTANTS, ControlRow, MutantRow, SelfTested, Tried, Verdict
from tests.runbooks.conftest import Hands
from worker.liveness import Liveness
from workflows.selftest import VerifierSelfTest

PARTS = {
    "verify_checks_of_records": ("M16", "M23", "M24"),
    "verify_checks_of_stores": ("M20", "M21"),
    "verify_checks_of_database": tuple(MUTANTS.keys() - {"M16", "M20", "M21", "M23", "M24"}),
}


def killed(*mutants: str) -> tuple[MutantRow, ...]:
    return tuple(
        MutantRow(mutant=one, what="damaged", seen="it is", check="a check", verdict=Verdict.KILLED)
        for one in mutants
    )


class Test:
    """A worker whose hands say what they are told to."""

    __test__ = False

    def __init__(self, client: Client, state: Path) -> None:
        self.client = client
        self.hands = Hands(state, client)
        green = tuple(ControlRow(control=one, what="sound", check="a check", passed=True) for one in CONTROLS)
        self.found = {name: Tried(mutants=killed(*mine), controls=green) for name, mine in PARTS.items()}
        for name in PARTS:
            self.hands.answers[name] = (TargetOrder, self._answer(name))

    def _answer(self, name: str) -> Callable[[Any], Tried]:
        return lambda _: self.found[name]

    async def run(self, argument: Any) -> SelfTested:
        return await self.client.execute_workflow(
            VerifierSelfTest.run, argument, id="selftest", task_queue=names.CONTROL_QUEUE
        )


@pytest.fixture
async def test(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Test]:
    made = Test(environment.client, tmp_path)
    async with (
        Worker(environment.client, task_queue=names.CONTROL_QUEUE, workflows=[VerifierSelfTest]),
        Worker(
            environment.client,
            task_queue=names.host_queue(),
            activities=made.hands.activities(),
            interceptors=[Liveness(0.5)],
        ),
    ):
        yield made


async def test_started_with_nothing_it_sums_up_what_its_hands_say(test: Test) -> None:
    found = await test.run({})
    assert found.passed
    assert (found.mutants_killed, found.mutants, found.controls_passed) == (24, 24, 6)
    assert {name for name in test.hands.called if name in PARTS} == PARTS.keys()


async def test_a_mutant_that_lived_in_one_hand_fails_the_whole(test: Test) -> None:
    whole = test.found["verify_checks_of_stores"]
    lived = whole.mutants[0].model_copy(update={"verdict": Verdict.LIVED})
    test.found["verify_checks_of_stores"] = whole.model_copy(update={"mutants": (lived, *whole.mutants[1:])})
    found = await test.run({"stack": "lab"})
    assert not found.passed
    assert found.mutants_killed == 23
