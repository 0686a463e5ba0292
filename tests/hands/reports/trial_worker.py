"""A worker for the tests of histories: ``trial_worker.py <server> <file made when the long step runs>``."""

import asyncio
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@activity.defn(name="restore")
async def restore() -> dict[str, str]:
    """Run until killed the first time, and end at once the second time."""
    if activity.info().attempt == 1:
        await asyncio.to_thread(Path(sys.argv[2]).touch)
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)
    return {"sentence": "1.3 GB restored."}


@activity.defn(name="flaky")
async def flaky(broken: bool) -> dict[str, str]:  # noqa: FBT001 - a workflow passes arguments by position
    """Fail always, or the first time only."""
    if broken or activity.info().attempt == 1:
        message = "the registry did not answer"
        raise RuntimeError(message)
    return {"sentence": "found."}


async def _step(name: str, title: str, *args: bool, tries: int = 2) -> None:
    await workflow.execute_activity(
        name,
        args=args,
        activity_id=name,
        summary=title,
        heartbeat_timeout=timedelta(seconds=1),
        start_to_close_timeout=timedelta(seconds=60),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=tries),
    )


@workflow.defn(name="Trial")
class Trial:
    """A long step, a step that a person has done again, and a hand that is no step."""

    @workflow.run
    async def run(self) -> None:
        """Go through the three."""
        await _step("restore", "Restore the backup")
        try:
            await _step("flaky", "Look for the image", True, tries=1)  # noqa: FBT003 - as above
        except ActivityError:
            await _step("flaky", "Look for the image", False)  # noqa: FBT003 - as above
        await workflow.execute_activity("flaky", False, start_to_close_timeout=timedelta(seconds=60))  # noqa: FBT003


async def _main() -> None:
    client = await Client.connect(sys.argv[1], identity=f"control@{socket.gethostname()}/{os.getpid()}")
    async with Worker(
        client,
        task_queue="trial",
        workflows=[Trial],
        activities=[restore, flaky],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        await asyncio.Event().wait()


asyncio.run(_main())
