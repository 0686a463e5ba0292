"""Days at a gate, on a real server whose clock is moved on for one run."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from domain import names
from domain.gates import GatePolicy, Rung
from tests.faults.record import Seen
from tests.runbooks.conftest import Bench, _key, bench_on
from tests.runbooks.gate_stage import set_gates, spoken, tell, until_asked_again

pytestmark = pytest.mark.timeout(120)

HOURS = timedelta(hours=1)
DANGEROUS = {"ensure_writers_stopped", "ensure_fenced", "ensure_last_wal", "ensure_swapped_in"}


@pytest.fixture
async def clock(temporal_program: str) -> AsyncIterator[WorkflowEnvironment]:
    """Run a server on which the clock of a run can be moved, and stands as long as nobody does."""
    async with await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False),
        dev_server_existing_path=temporal_program,
        dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
        search_attributes=[_key(name, kind) for name, kind in names.SEARCH_ATTRIBUTES],
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
    ) as env:
        yield env


@pytest.fixture
async def days(clock: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run the scenario with answering hands on that server."""
    async with bench_on(clock, tmp_path) as made:
        yield made


@pytest.mark.fault("F1", at_length=True)
async def test_after_three_days_without_an_answer_the_run_is_parked_and_has_changed_nothing(
    clock: WorkflowEnvironment, days: Bench, seen: Seen
) -> None:
    """F-F1: the approval never comes, for days; reminders, escalation chain, deadline, parked."""
    chain = (
        Rung(after=HOURS, tell=("on call",)),
        Rung(after=8 * HOURS, tell=("head of operations",)),
        Rung(after=24 * HOURS, tell=("everybody who can",)),
    )
    set_gates(days, swap=GatePolicy(escalation=chain, deadline=48 * HOURS, valid_for=6 * HOURS))
    handle = await days.start()
    asked = await days.until(handle, "gate")
    async with asyncio.timeout(90):
        await clock.fast_forward(handle, timedelta(days=3))
    view = await days.until(handle, "needs_human")
    told = days.hands.said
    said = [one.split(" to ", 1)[1].split(":")[0] for one in told if one.startswith("ESCALATION")]
    reminders = [one for one in told if one.startswith("Reminder")]
    assert view.parked_code == "gate-deadline"
    assert said[:3] == ["on call", "head of operations", "everybody who can"]
    assert 5 <= len(reminders) < 120
    assert not DANGEROUS & set(days.hands.called)
    refused = await tell(handle, "approve", spoken(asked))
    assert not refused.counted
    described = await handle.describe()
    assert described.history_length < 1500
    seen(f"three days passed: {view.parked_reason}; {len(reminders)} reminders")
    await handle.signal("retry", {"by": "an operator"})
    again = await until_asked_again(days, handle, asked.digest)
    await tell(handle, "approve", spoken(again))
    assert (await handle.result()).outcome == "recovered"


@pytest.mark.fault("F7", at_length=True)
async def test_an_approval_that_lay_for_hours_behind_a_hold_is_asked_for_again(
    clock: WorkflowEnvironment, days: Bench, seen: Seen
) -> None:
    """F-F7: hours pass between the answer and the act; what was true then is measured again."""
    handle = await days.start()
    view = await days.until(handle, "gate")
    await tell(handle, "hold", {"by": "an operator", "reason": "a phone call"})
    await tell(handle, "approve", spoken(view))
    await days.until(handle, "held")
    async with asyncio.timeout(60):
        await clock.fast_forward(handle, timedelta(hours=5))
    await tell(handle, "resume", {"by": "an operator"})
    again = await until_asked_again(days, handle, view.digest)
    assert "ensure_swapped_in" not in days.hands.called
    seen(again.brief[0])
    await tell(handle, "approve", spoken(again))
    assert (await handle.result()).outcome == "recovered"
