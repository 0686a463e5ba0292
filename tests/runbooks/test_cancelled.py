"""A run that is asked to cancel parks; it never breaks off in the middle."""

import asyncio
import threading
from typing import Any

import pytest

from tests.faults.record import Seen
from tests.runbooks.test_database_corruption import approve

pytestmark = pytest.mark.timeout(90)


@pytest.mark.fault("A11")
async def test_a_cancelled_run_finishes_its_step_parks_and_goes_on_when_it_is_told_to(
    bench: Any, seen: Seen
) -> None:
    """F-A11: run cancelled by hand; the current effect finishes, and the run parks and says what is where."""
    entered, free = threading.Event(), threading.Event()
    answer = bench.hands.answers["ensure_restored"][1]

    def slow(order: Any) -> Any:
        entered.set()
        assert free.wait(30)
        return answer(order)

    bench.hands.answer("ensure_restored", slow)
    handle = await bench.start()
    await asyncio.to_thread(entered.wait, 30)
    await handle.cancel()
    free.set()
    view = await bench.until(handle, "needs_human")
    assert "ensure_restored" in bench.hands.called
    assert "ensure_following" not in bench.hands.called
    assert "autovacuum is off" in view.parked_reason
    seen(view.parked_reason)
    await handle.signal("retry", {"by": "an operator", "step": "cancelled", "reason": "go on"})
    await approve(handle, await bench.until(handle, "gate"))
    assert (await handle.result()).outcome == "recovered"
