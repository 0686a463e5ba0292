"""A host whose worker is not there: the run says so and waits for people, not for ever in silence."""

import asyncio

import pytest
from temporalio.worker import Worker

from domain import names
from domain.order import Facts
from tests.faults.record import Seen
from tests.runbooks.conftest import STACK, TARGET, Bench
from tests.runbooks.gate_stage import spoken, tell

pytestmark = pytest.mark.timeout(300)

ATTIC = names.host_queue("attic")


@pytest.mark.fault("A8", at_length=True)
async def test_a_host_without_a_worker_parks_the_run_with_its_queue_named_and_retry_goes_on(
    bench: Bench, seen: Seen
) -> None:
    """F-A8: no worker for a host queue; schedule-to-start deadline, escalation with a visible reason."""
    elsewhere = STACK.model_copy(update={"site": "attic"})
    bench.hands.answer(
        "observe_stack", lambda _: Facts(stack=elsewhere, stack_digest="d" * 64, target=TARGET)
    )
    handle = await bench.start()
    # The clock is not moved on here: a server that skips time waits for hands that are due.
    async with asyncio.timeout(240):
        view = await bench.until(handle, "needs_human")
    assert view.parked_code == "no-agent"
    assert ATTIC in view.parked_reason
    assert any(ATTIC in said for said in bench.hands.said), "people were told"
    assert "assess_corruption" not in bench.hands.called
    seen(f"{view.parked_step} was not taken by anybody: {view.parked_reason}")
    async with Worker(bench.client, task_queue=ATTIC, activities=bench.hands.activities()):
        await handle.signal("retry", {"by": "an operator"})
        asked = await bench.until(handle, "gate")
        await tell(handle, "approve", spoken(asked))
        assert (await handle.result()).outcome == "recovered"
