"""What a schedule starts: the job itself runs as a child under its fixed id, which is its lock (F-G6).

Temporal appends the time to the workflow id of a scheduled run, so that id locks nothing. A run by hand and a
scheduled one meet at the child's id: the second is skipped, and says so.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.jobs import WORK, Job, lock_of
    from domain.order import Outcome, Value
    from workflows.backup import BackupRequest, load
    from workflows.retention import RECOVERY_OPEN, open_recovery, unclosed

SCHEDULED_FOR = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""Set by the server on every run of a schedule: when it was due, without jitter or delay."""


class JobRequest(Value):
    """Which job of which stack."""

    stack: str = Field(max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    job: Job


class ScheduledResult(Outcome):
    """How a scheduled run ended; one whose job failed fails too, so that everybody sees it."""

    did: Literal["done", "skipped", "stood_down"]
    job: Job
    workflow_id: str
    """Of the child, whether it was this run's or another one that was there."""
    scheduled_for: datetime


@workflow.defn(name="Scheduled")
class Scheduled:
    """Run the job of a schedule, unless it runs already or a recovery is open."""

    @workflow.run
    async def run(self, request: JobRequest) -> ScheduledResult:
        """Look, start the child, wait for its end."""
        did, sentence = await self._do(request)
        workflow.set_current_details(sentence)
        return ScheduledResult(
            did=did,
            job=request.job,
            workflow_id=lock_of(request.stack, request.job),
            scheduled_for=due_at(),
            sentence=sentence,
        )

    async def _do(self, request: JobRequest) -> tuple[Literal["done", "skipped", "stood_down"], str]:
        work, lock = WORK[request.job], lock_of(request.stack, request.job)
        if not work.workflow:
            return "stood_down", f"Nothing does the job {request.job} yet"
        # The run is asked for first: while it is open the stack may be too broken to be looked at.
        opened = await open_recovery(request.stack)
        if not work.frequent:
            opened = opened or unclosed(await load(BackupRequest(stack=request.stack)))
        if opened:
            return "stood_down", f"Stood down: {opened}"
        try:
            child: workflow.ChildWorkflowHandle[Any, Any] = await workflow.start_child_workflow(
                work.workflow,
                given_to(request, due_at()),
                id=lock,
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            )
        except WorkflowAlreadyStartedError:
            return "skipped", f"Skipped: {lock} is still running"
        try:
            return _judged(await child)
        except ChildWorkflowError as error:
            opened = _paused(error)
            if not opened:
                raise
            return "stood_down", f"Stood down: {opened}"


def given_to(request: JobRequest, due: datetime) -> Mapping[str, object]:
    """Return the input of the workflow that does a job."""
    work = WORK[request.job]
    said = {"stack": request.stack, "reason": f"scheduled for {due:%Y-%m-%d %H:%M:%SZ}", **work.request}
    return {**said, "scheduled_for": due.isoformat()}


def due_at() -> datetime:
    """Return when the run was due; one that somebody started by hand is due when it starts."""
    info = workflow.info()
    return info.typed_search_attributes.get(SCHEDULED_FOR) or info.workflow_start_time


def _judged(result: object) -> tuple[Literal["done", "stood_down"], str]:
    """Return how a job ended; raise ``ApplicationError`` when what it judged has failed.

    Such a verification has done its work, but whoever looks for what failed looks at the runs that did.
    """
    facts = result if isinstance(result, Mapping) else {}
    said = facts.get("sentence")
    sentence = said if isinstance(said, str) else "Done"
    if facts.get("outcome") == "failed":
        workflow.set_current_details(sentence)
        raise ApplicationError(sentence, "job-failed", type="VerificationFailed", non_retryable=True)
    return "stood_down" if facts.get("outcome") == "stood_down" else "done", sentence


def _paused(error: ChildWorkflowError) -> str:
    """Return what the job said that found a recovery open which was not yet when this run looked."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    return cause.message if cause is not None and RECOVERY_OPEN in cause.details else ""
