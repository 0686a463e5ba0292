"""The worker as a process: what it measures, traces and logs of a real run."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as wire
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from domain import names
from infra.temporal import bootstrap, server
from infra.temporal.server import TemporalSettings
from tests.replay.stage import temporal
from tests.runbooks.conftest import bench_on
from worker import metrics
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Collector(service.TraceServiceServicer):
    """Takes spans by OTLP and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def Export(self, request: wire.ExportTraceServiceRequest, context: Any) -> Any:  # noqa: ARG002, N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return wire.ExportTraceServiceResponse()


@dataclass
class Seen:
    """What one run of a scenario left behind outside its history."""

    run_id: str
    result: dict[str, Any]
    timeline: list[str]
    metrics: str
    spans: list[Span]
    log: list[dict[str, Any]]


async def play(embedded: TemporalSettings, environment: dict[str, str], metrics_port: int) -> Seen:
    """Run the scenario on a stack that does not exist: it looks, refuses, and writes its report."""
    endpoint = await asyncio.to_thread(server.ensure_running, embedded)
    client = await Client.connect(endpoint.address, data_converter=pydantic_data_converter)
    await bootstrap.ensure_namespace(client)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker",
        cwd=ROOT,
        env=environment | {"TEMPORAL_ADDRESS": endpoint.address},
        stderr=subprocess.PIPE,
    )
    try:
        handle = await client.start_workflow(
            "DatabaseCorruption", {"stack": "ghost"}, id="recovery/ghost", task_queue=names.CONTROL_QUEUE
        )
        result = await handle.result()
        view = await handle.query("status")
        async with httpx.AsyncClient(trust_env=False) as asking:
            said = (await asking.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
    lines = [json.loads(line) for line in log.decode().splitlines() if line.startswith("{")]
    return Seen(handle.result_run_id or "", result, view["lines"], said, [], lines)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    state = tmp_path_factory.mktemp("worker")
    port, ui, own, exposed, otlp = free_ports(5)
    embedded = TemporalSettings(state=state, port=port, ui_port=ui, metrics_port=own)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
    environment = kept | {
        "DR_STATE": str(state),
        "DR_METRICS_BIND": f"127.0.0.1:{exposed}",
        "DR_OTLP_ENDPOINT": f"http://127.0.0.1:{otlp}",
    }
    collector = Collector()
    listening = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(collector, listening)  # type: ignore[no-untyped-call]
    listening.add_insecure_port(f"127.0.0.1:{otlp}")
    listening.start()
    try:
        found = asyncio.run(play(embedded, environment, exposed))
        deadline = time.monotonic() + 20
        while not collector.spans and time.monotonic() < deadline:
            time.sleep(0.2)
        found.spans = collector.spans
        yield found
    finally:
        server.stop(embedded)
        listening.stop(None)


def sample(page: str, name: str, **labels: str) -> list[float]:
    """Return the values of the samples of a metric that carry these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return [
        float(line.rsplit(" ", 1)[1])
        for line in page.splitlines()
        if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
    ]


def attributes(span: Span) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in span.attributes}


def test_the_duration_of_a_step_is_a_histogram_by_scenario_and_step(seen: Seen) -> None:
    labels = {"scenario": "database_corruption", "step": "ensure_report_written"}
    assert sample(seen.metrics, "dr_recovery_step_seconds_count", **labels) == [1.0]
    assert sample(seen.metrics, "dr_recovery_step_seconds_bucket", le="14400", **labels) == [1.0]


def test_an_outcome_is_counted_by_its_name(seen: Seen) -> None:
    assert seen.result["outcome"] == "stood_down"
    labels = {"scenario": "database_corruption", "outcome": "stood_down"}
    assert sample(seen.metrics, "dr_recovery_outcome_total", **labels) == [1.0]


def test_the_objectives_of_the_stack_file_are_there_to_draw_a_line(seen: Seen) -> None:
    assert sample(seen.metrics, "dr_objective_seconds", service="postgres", objective="rto")


def test_the_sdk_s_own_metrics_are_on_the_same_page(seen: Seen) -> None:
    assert "temporal_workflow_completed_total" in seen.metrics


def test_a_run_is_one_trace_whose_id_is_the_run_id(seen: Seen) -> None:
    assert {span.trace_id.hex() for span in seen.spans} == {seen.run_id.replace("-", "")}


def test_each_step_is_one_span_below_the_span_of_the_run(seen: Seen) -> None:
    roots = [span for span in seen.spans if not span.parent_span_id]
    assert [attributes(span)["dr.outcome"] for span in roots] == ["stood_down"]
    steps = [span for span in seen.spans if span.parent_span_id]
    assert {span.parent_span_id for span in steps} == {roots[0].span_id}
    assert sorted(attributes(span)["dr.step"] for span in steps) == ["ensure_report_written", "observe_stack"]
    assert {span.name for span in steps} == {"Load the stack", "Write the report"}


def test_the_span_of_a_step_that_failed_says_why(seen: Seen) -> None:
    failed = next(span for span in seen.spans if attributes(span).get("dr.step") == "observe_stack")
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert "stack-unknown" in failed.status.message


def test_the_log_says_of_a_step_what_the_timeline_says(seen: Seen) -> None:
    said = {line["step"]: line["event"] for line in seen.log if "step" in line}
    assert set(said) == {"observe_stack", "ensure_report_written"}
    for sentence in said.values():
        assert any(line.endswith(sentence) for line in seen.timeline), sentence


def test_every_line_of_the_log_has_a_time_and_a_level(seen: Seen) -> None:
    assert seen.log
    assert all({"timestamp", "level", "event"} <= line.keys() for line in seen.log)


class Readings:
    """The last value of each gauge, by its name and its gate or stack."""

    def __init__(self) -> None:
        self._buffer = MetricBuffer(10_000)
        self.meter = Runtime(telemetry=TelemetryConfig(metrics=self._buffer)).metric_meter
        self._values: dict[tuple[str, str], float] = {}

    def values(self) -> dict[tuple[str, str], float]:
        """Return what the gauges read now."""
        for update in self._buffer.retrieve_updates():
            label = update.attributes.get("gate") or update.attributes.get("stack", "")
            self._values[update.metric.name, str(label)] = float(update.value)
        return self._values

    async def until(self, gauge: tuple[str, str], wanted: Callable[[float], bool]) -> None:
        """Wait until a gauge reads what is wanted."""
        for _ in range(600):
            if wanted(self.values().get(gauge, -1.0)):
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{gauge} is not as it should be: {self.values()}")


async def test_an_open_recovery_and_its_waiting_gate_are_gauges_that_fall_back_to_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_EVERY_SECONDS", 0.2)
    readings = Readings()
    async with temporal() as environment, bench_on(environment, tmp_path) as bench:
        watching = asyncio.create_task(
            metrics.watch(environment.client, readings.meter, Settings(state=tmp_path))
        )
        handle = await bench.start()
        await readings.until(("dr_recovery_open", "lab"), lambda value: value == 1)
        view = await bench.until(handle, "gate")
        await readings.until(("dr_gate_waiting_seconds", "swap"), lambda value: value > 0)
        await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
        await handle.result()
        await readings.until(("dr_gate_waiting_seconds", "swap"), lambda value: value == 0)
        await readings.until(("dr_recovery_open", "lab"), lambda value: value == 0)
        watching.cancel()


def test_the_objectives_of_a_broken_stack_file_are_left_out_and_those_of_others_kept(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text((ROOT / "infra" / "stack.yaml").read_text())
    bad.write_text("stack: [")
    readings = Readings()
    metrics.show_objectives(readings.meter, Settings(state=tmp_path, stack_files=f"{bad}:{good}"))
    assert ("dr_objective_seconds", "lab") in readings.values()
