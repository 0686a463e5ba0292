"""The workflows on a real Temporal server, with the real hands and moto's server behind them."""

import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.offsite import OffsiteCopies
from activities.offsite_fetch import OffsiteFetching
from activities.offsite_list import OffsiteListing
from activities.offsite_ready import OffsiteReadiness
from domain import names
from domain.errors import Refused
from domain.offsite_copies import CopiedOffsite, Fetched
from domain.offsite_look import OffsiteList
from domain.order import Facts, StackOrder
from domain.recovery import Judged
from domain.stack import Kind, Service, Stack
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.place import BASE, KEYS, Place, tree
from tests.runbooks.conftest import environment, temporal_program  # noqa: F401 - fixtures
from worker.liveness import Liveness
from workflows.inspection import Doctor
from workflows.offsite_copy import FetchOffsite, ListOffsite, OffsiteCopy

OTHERS = ("observe_questions", "observe_health", "observe_receiver", "observe_backups", "observe_host")


class Run:
    """A worker for one place."""

    def __init__(self, client: Client, place: Place) -> None:
        self.client = client
        self.place = place
        self.configured = True

    async def __call__(self, workflow: str, result: type[Any], **request: Any) -> Any:
        return await self.client.execute_workflow(
            workflow, request, id=f"{workflow}/lab", task_queue=names.CONTROL_QUEUE, result_type=result
        )

    def facts(self) -> Facts:
        """Return what the stack file would say."""
        stack = Stack(
            stack="lab",
            project="dr-lab",
            services={"postgres": Service(kind=Kind.POSTGRES)},
            offsite=self.place.policy if self.configured else None,
        )
        return Facts(stack=stack, stack_digest="", target=self.place.target)


@pytest.fixture
async def run(environment: WorkflowEnvironment, place: Place) -> AsyncIterator[Run]:  # noqa: F811 - the fixture
    made = Run(environment.client, place)

    @activity.defn(name="observe_stack")
    def observe_stack(order: StackOrder) -> Facts:
        return made.facts()

    side, tokens = place.side(), place.tokens()
    hands: list[Any] = [
        observe_stack,
        *(_absent(name) for name in OTHERS),
        OffsiteReadiness(side, tokens).observe_offsite_reach,
        OffsiteReadiness(side, tokens).ensure_offsite_ready,
        OffsiteCopies(side, tokens).ensure_copied_offsite,
        OffsiteListing(side).observe_offsite,
        OffsiteFetching(side, tokens).ensure_fetched,
    ]
    with ThreadPoolExecutor() as threads:
        common: dict[str, Any] = {"activity_executor": threads, "interceptors": [Liveness(0.5)]}
        workflows = [OffsiteCopy, ListOffsite, FetchOffsite, Doctor]
        async with (
            Worker(made.client, task_queue=names.CONTROL_QUEUE, workflows=workflows, **common),
            Worker(made.client, task_queue=names.host_queue(), activities=hands, **common),
        ):
            yield made


def _absent(name: str) -> Any:
    """Return a hand of the doctor that looks at what is not part of these tests."""

    def look(order: dict[str, Any]) -> None:
        raise Refused("not part of this test", code="absent")

    return activity.defn(name=name)(look)


def refusal(failed: WorkflowFailureError) -> ApplicationError:
    cause = failed.cause
    if isinstance(cause, ActivityError):
        cause = cause.cause  # type: ignore[assignment]  # an activity fails for a reason
    assert isinstance(cause, ApplicationError)
    return cause


async def test_copied_listed_lost_and_brought_back_with_an_empty_input(run: Run) -> None:
    copied = await run("OffsiteCopy", CopiedOffsite)
    assert len(copied.entries) == 3
    listed = await run("ListOffsite", OffsiteList)
    assert {one.checked for one in listed.entries} == {True}
    before = tree(run.place.shelf / "postgres" / "base" / BASE)
    shutil.rmtree(run.place.shelf)
    fetched = await run("FetchOffsite", Fetched)
    assert fetched.id == BASE
    del before["data/base/5/junk.tmp"]
    assert tree(run.place.shelf / "postgres" / "base" / BASE) == before


async def test_without_a_policy_it_is_said_what_is_missing(run: Run) -> None:
    run.configured = False
    with pytest.raises(WorkflowFailureError) as failed:
        await run("OffsiteCopy", CopiedOffsite)
    assert refusal(failed.value).details == ("offsite-not-configured",)


async def test_passing_trouble_ends_in_a_copy_and_secrets_stay_out_of_the_history(
    run: Run, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    run.place.endpoint = endpoint
    # More than the client's own retries: the first attempt of the hand fails.
    trouble = Trouble("error", "PUT", f"{BASE}/files/data/PG_VERSION", times=5)
    between.troubles.append(trouble)
    copied = await run("OffsiteCopy", CopiedOffsite)
    assert BASE in copied.entries
    assert trouble.met == 5
    history = await run.client.get_workflow_handle("OffsiteCopy/lab").fetch_history()
    text = b"".join(event.SerializeToString() for event in history.events)
    assert b"env:FAR_SECRET" in text
    (line,) = (path.read_text() for path in run.place.keys.directory.glob("*.key"))
    for secret in (KEYS["FAR_SECRET"], line.strip().rsplit(":", 1)[1]):
        assert secret.encode() not in text


async def test_a_scheduled_start_may_say_when_it_was_due(run: Run) -> None:
    copied = await run("OffsiteCopy", CopiedOffsite, scheduled_for="2026-03-01T02:00:00Z", reason="daily")
    assert len(copied.entries) == 3


async def test_the_doctor_looks_at_the_far_store_of_a_stack_that_has_one(run: Run) -> None:
    async def proofs() -> dict[str, bool | None]:
        judged = await run("Doctor", Judged)
        return {proof.name: proof.passed for proof in judged.proofs}

    found = await proofs()
    assert (found["off-site store"], found["key for off-site copies"]) == (True, True)
    for path in run.place.keys.directory.glob("*.key"):
        path.unlink()
    run.place.bucket = "never-made"
    found = await proofs()
    assert (found["off-site store"], found["key for off-site copies"]) == (False, False)
    run.configured = False
    assert "off-site store" not in await proofs()
