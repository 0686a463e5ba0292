"""A gate with its people: policies, decisions sent through every door, and what the report says of them."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from domain.approval import Answer, Decision, Verb
from domain.gates import Approver, GatePolicy
from domain.incident import RecoveryResult, StatusView
from domain.judgement import statement_of
from domain.order import Facts
from domain.signing import sign
from tests.domain.people import FIRST, KEYS, PEM, SECOND
from tests.runbooks.conftest import STACK, TARGET, Bench
from workflows.database_corruption import DatabaseCorruption

Handle = WorkflowHandle[Any, RecoveryResult]
PEOPLE = (Approver(name=FIRST, key=KEYS[FIRST][0]), Approver(name=SECOND, key=KEYS[SECOND][0]))
ROLES: Mapping[str, tuple[Approver, ...]] = {"operator": PEOPLE, "auditor": (Approver(name="an auditor"),)}
PATIENCE_SECONDS = 40


def set_gates(
    bench: Bench, approvers: Mapping[str, tuple[Approver, ...]] | None = None, **gates: GatePolicy
) -> None:
    """Let the stack file state these gates, and these people."""
    stack = STACK.model_copy(update={"gates": gates, "approvers": dict(approvers or {})})
    facts = Facts(stack=stack, stack_digest="d" * 64, target=TARGET)
    bench.hands.answer("observe_stack", lambda _: facts)


def spoken(view: StatusView, **changed: str) -> dict[str, str]:
    """Return an approval of the open gate as the signal form takes it."""
    return {"gate": view.gate, "digest": view.digest, "by": FIRST} | changed


def signed(
    view: StatusView, *, by: str = FIRST, verb: Verb = Verb.APPROVE, pem: bytes = b"", **changed: str
) -> dict[str, str]:
    """Return a signed decision about the open gate as the signal form takes it."""
    now = datetime.now(UTC)
    fields = spoken(view, by=by) | {
        "run": view.run_id,
        "issued": now.isoformat(),
        "expires": (now + timedelta(hours=1)).isoformat(),
        "nonce": f"{by} {now.timestamp()}",
    }
    said = Decision.model_validate(fields | changed | {"verb": verb})
    made = sign(statement_of(said, said.run or view.run_id), pem or PEM[by])
    return fields | changed | {"signature": made}


async def tell(handle: Handle, verb: str, message: Mapping[str, str]) -> Answer:
    """Say something through the Update, and return the answer."""
    answer: Answer = await handle.execute_update("decide", {"verb": verb, **message}, result_type=Answer)
    return answer


def raw(data: bytes, encoding: str = "json/plain") -> RawValue:
    """Return a payload as somebody typed it into the signal form of the Web UI."""
    return RawValue(Payload(metadata={"encoding": encoding.encode()}, data=data))


def decisions(result: RecoveryResult) -> list[dict[str, Any]]:
    """Return the decisions of the report."""
    return list(report(result)["decisions"])


def report(result: RecoveryResult) -> dict[str, Any]:
    """Return the report as programs read it."""
    found: dict[str, Any] = json.loads(Path(result.report).with_suffix(".json").read_text(encoding="utf-8"))
    return found


def page(result: RecoveryResult) -> str:
    """Return the report as people read it."""
    return Path(result.report).read_text(encoding="utf-8")


async def until_said(bench: Bench, words: str) -> str:
    """Wait until people were told something."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for sentence in bench.hands.said:
                if words in sentence:
                    return sentence
            await asyncio.sleep(0.05)


async def until_asked_again(bench: Bench, handle: Handle, earlier: str) -> StatusView:
    """Wait until the gate is open with another brief."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            view = await bench.until(handle, "gate")
            if view.digest != earlier:
                return view
            await asyncio.sleep(0.05)


async def replays(handle: Handle) -> None:
    """Judge everything that was said once more, from the history alone; it must come to the same."""
    replayer = Replayer(workflows=[DatabaseCorruption], data_converter=pydantic_data_converter)
    await replayer.replay_workflow(await handle.fetch_history())
