"""A dump as a run of Temporal takes it: through the real hand, asked for with nothing, and verified again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import entries
from activities.engine import Engine
from activities.postgres.backup import Backups
from activities.postgres.dump import Dumps
from activities.postgres.restore_dump import DumpChecks
from activities.postgres.sql import Sql
from activities.rebuild import Rebuilding
from activities.shelf import Shelf
from activities.tokens import Tokens
from domain import names
from domain.backups import Level
from domain.entries import Entry
from domain.order import Facts, StackOrder
from domain.stack import Stack
from infra.temporal.server import find_program
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.dumped import ours
from worker.liveness import Liveness
from workflows.backup import Dump, DumpRequest
from workflows.catalogue import ListBackups, RebuildCatalogue, ShowBackup, VerifyBackup

pytestmark = pytest.mark.hand

WORKFLOWS = [Dump, ListBackups, ShowBackup, VerifyBackup, RebuildCatalogue]


@pytest.fixture
async def environment(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path
) -> AsyncIterator[WorkflowEnvironment]:
    """Run workers with the real hands, on a stack that is the test's server."""
    parts = (engine, sql, tokens, state)
    shelf, dumps = Shelf(), Dumps(*parts)

    @activity.defn(name="observe_stack")
    def observe(_: StackOrder) -> Facts:
        stack = Stack(stack="chat", project=server.target.project, services={})
        return Facts(stack=stack, stack_digest="d" * 64, target=server.target)

    hands: list[Any] = [
        observe,
        dumps.ensure_dump,
        dumps.verify_dump,
        Backups(*parts).verify_backup,
        DumpChecks(*parts).verify_restored,
        Rebuilding(engine, tokens, state).ensure_catalogue_rebuilt,
        shelf.observe_entries,
        shelf.observe_entry,
        shelf.verify_files,
    ]
    with ThreadPoolExecutor() as threads:
        async with (
            await WorkflowEnvironment.start_local(
                dev_server_existing_path=find_program(),
                data_converter=pydantic_data_converter,
                dev_server_log_level="error",
            ) as made,
            Worker(made.client, task_queue=names.CONTROL_QUEUE, workflows=WORKFLOWS),
            Worker(
                made.client,
                task_queue=names.host_queue(),
                activities=hands,
                activity_executor=threads,
                interceptors=[Liveness(0.5)],
            ),
        ):
            yield made


async def run(environment: WorkflowEnvironment, workflow: Any, **request: object) -> Any:
    return await environment.client.execute_workflow(
        workflow.run, request, id=f"w/{workflow.__name__}", task_queue=names.CONTROL_QUEUE
    )


async def test_a_dump_is_taken_listed_shown_verified_and_proven(
    environment: WorkflowEnvironment, server: Server
) -> None:
    made: Entry = await run(environment, Dump, reason="test")
    assert (await run(environment, ListBackups)).entries[0].id == made.id
    assert (await run(environment, ShowBackup, backup_id=made.id)).contents == made.contents
    assert (await run(environment, VerifyBackup, backup_id=made.id)).entry.verified is Level.MANIFEST
    proven = await run(environment, VerifyBackup, restore=True)
    assert proven.passed, proven.proofs
    kept = await asyncio.to_thread(entries.find_entry, Path(server.target.shelf), made.id)
    assert kept.verified is Level.RESTORED


async def test_a_run_that_is_cancelled_in_the_middle_of_a_dump_leaves_nothing(
    environment: WorkflowEnvironment, server: Server, engine: Engine
) -> None:
    where = Path(server.target.shelf) / "postgres" / "daily"

    def unfinished() -> bool:
        return where.is_dir() and bool(list(where.glob(".*.partial")))

    holder = await asyncio.to_thread(server.connect)
    try:
        # Held all the time, so that the dump cannot end otherwise than by being called off.
        await asyncio.to_thread(
            holder.execute,
            "CREATE UNLOGGED TABLE passing (id int); BEGIN; LOCK TABLE passing IN ACCESS EXCLUSIVE MODE",
        )
        handle = await environment.client.start_workflow(
            Dump.run, DumpRequest(), id="w/cancelled", task_queue=names.CONTROL_QUEUE
        )
        await until(unfinished)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        await until(lambda: not unfinished())
    finally:
        await asyncio.to_thread(holder.close)
    assert await asyncio.to_thread(entries.read_entries, Path(server.target.shelf)) == ([], [])
    assert await asyncio.to_thread(ours, engine, server) == []
    made = await run(environment, Dump)
    found, strangers = await asyncio.to_thread(entries.read_entries, Path(server.target.shelf))
    assert ([entry.id for entry in found], strangers) == ([made.id], [])


async def until(told: Callable[[], bool]) -> None:
    for _ in range(600):
        if await asyncio.to_thread(told):
            return
        await asyncio.sleep(0.1)
    pytest.fail("it did not come to that")
