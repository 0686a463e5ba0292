"""A real Temporal server and the answering hands of the runbook tests, outside pytest's fixtures."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from domain import names
from infra.temporal.server import find_program
from tests.runbooks.conftest import Bench, Hands, _key
from worker.liveness import Liveness
from workflows.database_corruption import DatabaseCorruption


@asynccontextmanager
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """Run a server that knows our search attributes."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=find_program(),
        search_attributes=[_key(name, kind) for name, kind in names.SEARCH_ATTRIBUTES],
        data_converter=pydantic_data_converter,
        identity="a worker",
        dev_server_log_level="error",
    ) as environment:
        yield environment


@asynccontextmanager
async def bench_on(
    environment: WorkflowEnvironment,
    state: Path,
    workflows: Sequence[type] = (DatabaseCorruption,),
) -> AsyncIterator[Bench]:
    """Run a worker with answering hands and some version of the runbooks."""
    client = environment.client
    hands = Hands(state, client)
    with ThreadPoolExecutor() as threads:
        common: dict[str, Any] = {"activity_executor": threads, "interceptors": [Liveness(0.5)]}
        async with (
            Worker(
                client,
                task_queue=names.CONTROL_QUEUE,
                workflows=workflows,
                activities=hands.activities(),
                workflow_failure_exception_types=[ValidationError],
                **common,
            ),
            Worker(client, task_queue=names.host_queue(), activities=hands.activities(), **common),
        ):
            yield Bench(client, hands)
