"""What a command does while it waits for Temporal."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from domain.errors import BackupUnusable, DrError, Refused, Unavailable, VerificationFailed
from starter import orchestrator
from starter.answer import Busy
from worker import liveness
from worker.settings import Settings


class Answer(BaseModel):
    """What a run returns."""

    value: int = 0


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many workers poll at each look; the last answer stays."""
    looks = [1]

    async def pollers(*_: Any) -> int:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    async def start(*_: Any) -> None:
        return None

    monkeypatch.setattr(orchestrator, "pollers", pollers)
    monkeypatch.setattr(orchestrator, "start", start)
    monkeypatch.setattr(orchestrator, "_POLLERS_EVERY_SECONDS", 0.01)
    return looks


async def asked() -> Answer:
    client: Any = None
    return await orchestrator.execute(client, Settings(), "Doctor", Answer(), Answer)


async def test_a_command_whose_last_worker_goes_says_so_and_waits_no_longer(
    polled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[bool] = []

    async def result_of(_: None) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(True)
        return Answer()

    monkeypatch.setattr(orchestrator, "result_of", result_of)
    polled[:] = [1, 1, 1, 1, 0]
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable) as gone:
            await asked()
        await asyncio.sleep(0)
    assert gone.value.code == "worker-missing"
    assert given_up == [True]


async def test_a_command_that_takes_long_is_waited_for_while_a_worker_polls(
    polled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def result_of(_: None) -> Answer:
        await answered.wait()
        return Answer(value=7)

    monkeypatch.setattr(orchestrator, "result_of", result_of)
    waiting = asyncio.create_task(asked())
    polled[:] = list(range(30, 0, -1))
    async with asyncio.timeout(20):
        while polled[0] > 1:
            assert not waiting.done()
            await asyncio.sleep(0.01)
        answered.set()
        assert (await waiting).value == 7


async def test_a_failure_of_what_was_asked_for_is_told_as_such(
    polled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def result_of(_: None) -> Answer:
        raise Unavailable("the server is away", code="away")

    monkeypatch.setattr(orchestrator, "result_of", result_of)
    with pytest.raises(Unavailable, match="the server is away"):
        await asked()
    assert polled


@pytest.mark.parametrize("kind", [Refused, BackupUnusable, Unavailable, VerificationFailed])
def test_an_error_of_a_hand_keeps_its_kind_and_all_its_parts_on_the_way_to_the_command(
    kind: type[DrError],
) -> None:
    meant = kind("there is no key", where="/keys", hint="make one", code="backup-key-missing")
    told = liveness._told(meant)
    assert told.message == "there is no key (/keys) HINT: make one [backup-key-missing]"
    got = orchestrator._ours(told)
    assert type(got) is kind
    assert (got.what, got.where, got.hint, got.code) == (meant.what, meant.where, meant.hint, meant.code)


def test_an_error_that_has_a_code_alone_is_told_by_its_message() -> None:
    got = orchestrator._ours(ApplicationError("it is open [recovery-open]", "recovery-open", type="Refused"))
    assert (type(got), got.what, got.where, got.code) == (Refused, "it is open", "", "recovery-open")


@pytest.mark.parametrize(
    ("workflow_id", "hint"), [("recovery/lab", "dr abort"), ("backup/lab/redis/all", "cancel it there")]
)
async def test_who_meets_another_run_is_told_what_helps_with_that_one(workflow_id: str, hint: str) -> None:
    class Taken:
        namespace = "default"

        async def start_workflow(self, *_: Any, **__: Any) -> None:
            raise WorkflowAlreadyStartedError(workflow_id, "x", run_id="r")

    client: Any = Taken()
    with pytest.raises(Busy) as busy:
        await orchestrator.start(client, Settings(), "x", Answer(), workflow_id, Answer)
    assert hint in busy.value.hint
