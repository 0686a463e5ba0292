"""The worker does not poll when its code cannot replay an open run."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from domain import names
from domain.errors import Refused
from tests.faults.record import Seen
from tests.replay.changed_runbook import Changed
from tests.replay.stage import temporal
from tests.runbooks.conftest import bench_on
from worker.replay_gate import refuse_if_open_runs_cannot_replay
from worker.workflows import WORKFLOWS

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal() as started:
        yield started


async def open_run(environment: WorkflowEnvironment, state: Path, code: type) -> None:
    """Leave a run waiting at its gate, begun by some release, with no worker."""
    async with bench_on(environment, state, [code]) as bench:
        await bench.until(await bench.start(), "gate")
    query = "ExecutionStatus='Running'"
    while (await environment.client.count_workflows(query)).count == 0:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.1)


async def pollers(client: Client, queue: str) -> set[str]:
    """Return the identities that polled a queue."""
    found: set[str] = set()
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        said = await client.workflow_service.describe_task_queue(request)
        found |= {poller.identity for poller in said.pollers}
    return found


async def test_open_runs_that_replay_are_counted(environment: WorkflowEnvironment, tmp_path: Path) -> None:
    await open_run(environment, tmp_path, WORKFLOWS[0])
    assert await refuse_if_open_runs_cannot_replay(environment.client, names.CONTROL_QUEUE, WORKFLOWS) == 1


@pytest.mark.fault("A7")
async def test_an_open_run_of_another_release_is_refused_by_name(
    environment: WorkflowEnvironment, tmp_path: Path, seen: Seen
) -> None:
    """F-A7: worker deployed with a changed runbook while a run is open."""
    await open_run(environment, tmp_path, WORKFLOWS[0])
    with pytest.raises(Refused) as refused:
        await refuse_if_open_runs_cannot_replay(environment.client, names.CONTROL_QUEUE, [Changed])
    assert refused.value.code == "cannot-replay"
    assert "recovery/lab" in str(refused.value)
    seen(str(refused.value))


async def test_a_run_whose_scenario_this_release_does_not_know_is_refused(
    environment: WorkflowEnvironment, tmp_path: Path
) -> None:
    await open_run(environment, tmp_path, WORKFLOWS[0])
    with pytest.raises(Refused) as refused:
        await refuse_if_open_runs_cannot_replay(environment.client, names.CONTROL_QUEUE, WORKFLOWS[1:])
    assert refused.value.code == "cannot-replay"


async def test_the_worker_process_exits_with_5_and_polls_nothing(
    environment: WorkflowEnvironment, tmp_path: Path
) -> None:
    await open_run(environment, tmp_path, Changed)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker",
        cwd=ROOT,
        env={
            **os.environ,
            "DR_STATE": str(tmp_path),
            "DR_METRICS_BIND": "",
            "TEMPORAL_ADDRESS": environment.client.service_client.config.target_host,
        },
        stderr=subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 5
    assert b'"code": "cannot-replay"' in said
    queues = (names.CONTROL_QUEUE, names.host_queue())
    seen = set().union(*[await pollers(environment.client, queue) for queue in queues])
    assert seen, "the worker of the bench is still listed"
    assert not [identity for identity in seen if identity.endswith(f"/{process.pid}")]
