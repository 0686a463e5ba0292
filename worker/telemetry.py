"""Metrics on ``/metrics``, and traces when an OTLP endpoint is set."""

from datetime import timedelta

import opentelemetry.trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from temporalio.contrib.opentelemetry import TracingInterceptor, create_tracer_provider
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from worker.settings import Settings

_HEARTBEAT = timedelta(seconds=10)


def runtime(settings: Settings) -> Runtime:
    """Return the SDK's runtime, which serves its own metrics and ours on one ``/metrics``."""
    if not settings.metrics_bind:
        return Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=_HEARTBEAT)
    metrics = PrometheusConfig(
        bind_address=settings.metrics_bind,
        counters_total_suffix=True,
        unit_suffix=False,
        durations_as_seconds=True,
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics), worker_heartbeat_interval=_HEARTBEAT)


def tracing(settings: Settings) -> list[TracingInterceptor]:
    """Return the interceptor that makes one trace a recovery and one span a step, if asked for."""
    if not settings.otlp_endpoint:
        return []
    provider = create_tracer_provider(resource=Resource.create({"service.name": "dr-worker"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint, insecure=True))
    )
    opentelemetry.trace.set_tracer_provider(provider)
    return [TracingInterceptor(provider.get_tracer("dr"))]
