"""Gauges that a run cannot set itself: they must be right while it waits, and after a restart."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.common import MetricGaugeFloat, MetricMeter
from temporalio.service import RPCError

from domain.errors import DrError
from domain.incident import StatusView
from domain.stack import Objective, Stack
from domain.stack_file import parse_stack
from worker.settings import Settings

_EVERY_SECONDS = 10.0
_ANSWER_WITHIN_SECONDS = 5
_OPEN = "ExecutionStatus='Running' AND WorkflowId STARTS_WITH 'recovery/'"

STEP_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)
"""Upper bounds in seconds: a lookup takes a tenth, a restore of a large database hours."""

Labels = tuple[tuple[str, str], ...]


class Gauge:
    """A gauge whose labels come and go: what is no longer seen is set to zero, not left standing."""

    def __init__(self, gauge: MetricGaugeFloat) -> None:
        """Set nothing yet."""
        self._gauge = gauge
        self._shown: set[Labels] = set()

    def show(self, values: dict[Labels, float]) -> None:
        """Set the values, and all that were set before to zero."""
        for labels in self._shown - values.keys():
            self._gauge.set(0.0, dict(labels))
        for labels, value in values.items():
            self._gauge.set(value, dict(labels))
        self._shown |= values.keys()


async def watch(client: Client, meter: MetricMeter, settings: Settings) -> None:
    """Keep the gauges of open recoveries right until cancelled; a look that fails is tried again."""
    show_objectives(meter, settings)
    is_open = Gauge(meter.create_gauge_float("dr_recovery_open", "Open recoveries"))
    waiting = Gauge(meter.create_gauge_float("dr_gate_waiting_seconds", "How long a gate is open", "s"))
    while True:
        try:
            views = await _open_recoveries(client)
        except RPCError as error:
            structlog.get_logger().info("open recoveries could not be counted", reason=str(error)[:200])
        else:
            is_open.show({_of(view): 1.0 for view in views})
            now = datetime.now(UTC)
            waiting.show(
                {
                    (*_of(view), ("gate", view.gate)): (now - view.waiting_since).total_seconds()
                    for view in views
                    if view.gate and view.waiting_since
                }
            )
        await asyncio.sleep(_EVERY_SECONDS)


def _of(view: StatusView) -> Labels:
    return (("stack", view.stack), ("scenario", view.scenario))


async def _open_recoveries(client: Client) -> list[StatusView]:
    views: list[StatusView] = []
    async for found in client.list_workflows(_OPEN):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        try:
            views.append(
                await asyncio.wait_for(
                    handle.query("status", result_type=StatusView), timeout=_ANSWER_WITHIN_SECONDS
                )
            )
        except (TimeoutError, WorkflowQueryFailedError):
            # The worker that runs it is busy or another; that it is open is known all the same.
            name = found.id.removeprefix("recovery/")
            views.append(
                StatusView(recovery_id="", stack=name, scenario=found.workflow_type, mode="", state="")
            )
    return views


def show_objectives(meter: MetricMeter, settings: Settings) -> None:
    """Set what was promised for each stack, so that a dashboard draws the line to stay below."""
    gauge = meter.create_gauge_float("dr_objective_seconds", "Objectives of the stack file", "s")
    for path in settings.stacks().values():
        try:
            stack = parse_stack(path.read_text(encoding="utf-8"), str(path))[0]
        except (DrError, OSError) as error:
            structlog.get_logger().warning("no objectives of a stack", reason=str(error))
            continue
        for labels, seconds in _objectives(stack):
            gauge.set(seconds, labels)


def _objectives(stack: Stack) -> Iterable[tuple[dict[str, str], float]]:
    """Yield labels and seconds; one of ``scenario`` and ``service`` is empty."""
    promised: list[tuple[str, str, Objective | None]] = [
        *((name, "", objective) for name, objective in stack.scenarios.items()),
        *(("", name, service.objective) for name, service in stack.services.items()),
    ]
    for scenario, service_name, objective in promised:
        for kind in ("rto", "rpo"):
            value = getattr(objective, kind, None)
            if value is not None:
                labels = {"stack": stack.stack, "scenario": scenario, "service": service_name}
                yield labels | {"objective": kind}, value.total_seconds()
