"""A real Temporal server for the answering hands of the runbook tests, outside pytest's fixtures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from domain import names
from infra.temporal.server import find_program
from tests.runbooks.conftest import _key


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
