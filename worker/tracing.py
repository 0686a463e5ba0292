"""One trace a recovery, one span a step, whoever started the run and however often a worker died.

The ids follow from the run, not from a process: the trace id is the run id without its dashes. A span is
sent when its step has ended and not again in a replay; one that is sent twice has the same id.
"""

import hashlib
import uuid
from typing import Any

import temporalio.client
import temporalio.worker
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from temporalio import workflow
from temporalio.exceptions import FailureError

_EXTERN = "dr_span"
_SCOPE = InstrumentationScope("dr")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Tracing(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Watches runs and sends their spans; nothing of it is in history."""

    def __init__(self, processor: SpanProcessor, resource: Resource) -> None:
        """Send through ``processor``."""
        self._processor = processor
        self._resource = resource

    def workflow_interceptor_class(
        self,
        input: temporalio.worker.WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[temporalio.worker.WorkflowInboundInterceptor]:
        """Hand the way out to the runs, which may do no I/O themselves."""
        input.unsafe_extern_functions[_EXTERN] = self._send
        return _TracedRun

    def _send(self, run_id: str, key: str, name: str, span: dict[str, Any]) -> None:
        """Send one ended span; an empty ``key`` is the run's own."""
        parent = _context(run_id, "") if key else None
        error = str(span["error"])
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=_context(run_id, key),
                parent=parent,
                resource=self._resource,
                attributes=span["attributes"],
                kind=SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.OK),
                start_time=span["start_ns"],
                end_time=span["end_ns"],
                instrumentation_scope=_SCOPE,
            )
        )


def _context(run_id: str, key: str) -> SpanContext:
    digest = hashlib.sha256(f"{run_id}/{key}".encode()).digest()
    span_id = int.from_bytes(digest[:8], "big")
    return SpanContext(uuid.UUID(run_id).int, span_id, is_remote=False, trace_flags=_SAMPLED)


class _TracedRun(temporalio.worker.WorkflowInboundInterceptor):
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        """Watch the steps too."""
        super().init(_TracedSteps(outbound))

    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:  # noqa: A002, ANN401 - the SDK's
        """Send the run's own span when it ends."""
        info = workflow.info()
        begun = int(info.start_time.timestamp() * 1e9)
        name = f"{info.workflow_type} {info.workflow_id}"
        try:
            result = await self.next.execute_workflow(input)
        except FailureError as error:
            _record("", name, begun, {}, str(error))
            raise
        outcome = str(getattr(result, "outcome", ""))
        _record("", name, begun, {"dr.outcome": outcome} if outcome else {}, "")
        return result


class _TracedSteps(temporalio.worker.WorkflowOutboundInterceptor):
    def start_activity(
        self,
        input: temporalio.worker.StartActivityInput,  # noqa: A002 - the SDK's name
    ) -> workflow.ActivityHandle[Any]:
        """Send a span when the activity has ended, all its attempts included."""
        begun = workflow.time_ns()
        step = input.activity_id or input.activity
        handle = self.next.start_activity(input)

        def ended(task: workflow.ActivityHandle[Any]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            sentence = "" if error else str(getattr(task.result(), "sentence", ""))
            attributes = {"dr.step": step, "dr.hand": input.activity, "dr.sentence": sentence}
            said = str(getattr(error, "cause", None) or error or "")
            _record(f"{step}/{begun}", input.summary or step, begun, attributes, said)

        handle.add_done_callback(ended)
        return handle


def _record(key: str, name: str, start_ns: int, attributes: dict[str, str], error: str) -> None:
    if workflow.unsafe.is_replaying():
        return
    info = workflow.info()
    known = {"dr.workflow_id": info.workflow_id, "dr.run_id": info.run_id}
    workflow.extern_functions()[_EXTERN](
        info.original_execution_run_id,
        key,
        name,
        {
            "start_ns": start_ns,
            "end_ns": workflow.time_ns(),
            "attributes": known | attributes,
            "error": error,
        },
    )
