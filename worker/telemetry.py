"""Metrics on ``/metrics``, and traces when an OTLP endpoint is set."""

from datetime import timedelta

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from worker.metrics import STEP_BUCKETS
from worker.settings import Settings
from worker.tracing import Tracing

_HEARTBEAT = timedelta(seconds=10)
_processors: list[BatchSpanProcessor] = []


def runtime(metrics_at: str) -> Runtime:
    """Return the SDK's runtime, which serves its metrics and ours of runs at an address, if there is one."""
    if not metrics_at:
        return Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=_HEARTBEAT)
    metrics = PrometheusConfig(
        bind_address=metrics_at,
        counters_total_suffix=True,
        unit_suffix=False,
        durations_as_seconds=True,
        histogram_bucket_overrides={"dr_recovery_step_seconds": list(STEP_BUCKETS)},
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics), worker_heartbeat_interval=_HEARTBEAT)


def tracing(settings: Settings) -> list[Tracing]:
    """Return the interceptor that makes one trace a recovery and one span a step, if asked for."""
    if not settings.otlp_endpoint:
        return []
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=True)
    processor = BatchSpanProcessor(exporter)
    _processors.append(processor)
    return [Tracing(processor, Resource.create({"service.name": "dr-worker"}))]


def shut_down() -> None:
    """Send the last spans; nothing is recorded afterwards."""
    for processor in _processors:
        processor.shutdown()  # type: ignore[no-untyped-call]  # not typed by its authors
