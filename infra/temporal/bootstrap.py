"""What a namespace needs before the first recovery: retention of the evidence and search attributes.

``start-dev`` keeps closed runs for a day and takes ``--search-attribute`` only when it makes a namespace, so
both are set through the API, on an embedded server and on any other. Every call may be repeated.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Refused
from domain.names import SEARCH_ATTRIBUTES

RETENTION = timedelta(days=90)
NEW_NAMESPACE_WAIT_SECONDS = 60
_NOT_OURS = frozenset(
    {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED}
)


async def ensure_namespace(client: Client, retention: timedelta = RETENTION) -> None:
    """Make the client's namespace ready: it exists, keeps closed runs that long, knows our attributes.

    Raises ``Refused`` (``search-attribute-type``) when an attribute of ours has another type there.
    """
    await _ensure_retention(client, retention)
    await _ensure_search_attributes(client)


async def ensure_usable(client: Client, retention: timedelta = RETENTION) -> tuple[str, ...]:
    """Make sure that a namespace of somebody else's server can be used; return what people should know.

    It is neither made nor given another retention: that is for those whose server it is. Missing search
    attributes are added where we may. Raises ``Refused`` (``namespace-missing``, ``temporal-denied``,
    ``search-attributes-missing``, ``search-attribute-type``) with the command that helps.
    """
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        found = await client.workflow_service.describe_namespace(request)
    except RPCError as error:
        raise _not_described(error, client.namespace) from None
    kept = found.config.workflow_execution_retention_ttl.ToTimedelta()
    try:
        await _ensure_search_attributes(client)
    except RPCError as error:
        if error.status not in _NOT_OURS:
            raise
        raise Refused(
            f"the search attributes of dr are not there and may not be added: {error.message}",
            where=f"namespace {client.namespace}",
            hint=f"have them added: {_commands(client.namespace)}",
            code="search-attributes-missing",
        ) from None
    if kept >= retention:
        return ()
    short = f"namespace {client.namespace} forgets closed runs after {kept.days} days"
    return (f"{short}; {retention.days} are advised: reports stay, histories go",)


def _not_described(error: RPCError, namespace: str) -> Exception:
    if error.status is RPCStatusCode.NOT_FOUND:
        return Refused(
            f"there is no namespace {namespace} on this server",
            where="TEMPORAL_NAMESPACE",
            hint=f"have it made: temporal operator namespace create --retention 90d -n {namespace}",
            code="namespace-missing",
        )
    if error.status in _NOT_OURS:
        return Refused(
            f"the server does not let us into namespace {namespace}: {error.message}",
            where="TEMPORAL_NAMESPACE",
            hint="certificate or key must have the role of a worker there",
            code="temporal-denied",
        )
    return error


def _commands(namespace: str) -> str:
    names = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES)
    return f"temporal operator search-attribute create -n {namespace} {names}"


async def _ensure_retention(client: Client, retention: timedelta) -> None:
    wanted = Duration()
    wanted.FromTimedelta(retention)
    service = client.workflow_service
    try:
        found = await service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        request = RegisterNamespaceRequest(
            namespace=client.namespace,
            workflow_execution_retention_period=wanted,
        )
        await service.register_namespace(request)
        return
    if found.config.workflow_execution_retention_ttl != wanted:
        config = NamespaceConfig(workflow_execution_retention_ttl=wanted)
        await service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, config=config))


async def _known_search_attributes(client: Client) -> Mapping[str, IndexedValueType.ValueType]:
    """Read them, waiting for a namespace that was just made: the server learns of it after seconds."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    deadline = asyncio.get_running_loop().time() + NEW_NAMESPACE_WAIT_SECONDS
    while True:
        try:
            return (await client.operator_service.list_search_attributes(request)).custom_attributes
        except RPCError as error:
            late = asyncio.get_running_loop().time() > deadline
            if error.status is not RPCStatusCode.NOT_FOUND or late:
                raise
        await asyncio.sleep(0.5)


async def _ensure_search_attributes(client: Client) -> None:
    known = await _known_search_attributes(client)
    missing: dict[str, IndexedValueType.ValueType] = {}
    for name, kind in SEARCH_ATTRIBUTES:
        wanted = IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        if name not in known:
            missing[name] = wanted
        elif known[name] != wanted:
            raise Refused(
                f"search attribute {name} is {IndexedValueType.Name(known[name])}, not {kind}",
                where=f"namespace {client.namespace}",
                hint="use a namespace of its own for dr, or rename the other attribute",
                code="search-attribute-type",
            )
    if missing:
        addition = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await client.operator_service.add_search_attributes(addition)
