"""What ``dr approve`` wants typed back before it says anything to the run."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from domain.approval import Answer, Decision
from domain.errors import Refused
from domain.incident import StatusView
from starter import orchestrator
from starter.cli import app
from worker.settings import Settings


class Desk:
    """Stands in for Temporal: the run at its gate, and what it was told."""

    def __init__(self, loss: int | None) -> None:
        self.view = StatusView(
            recovery_id="20261123T0331Z-820831eb",
            run_id="1",
            stack="lab",
            scenario="database_corruption",
            mode="real",
            state="gate",
            gate="swap",
            digest="d1",
            maximum_loss_seconds=loss,
        )
        self.told: list[Decision] = []

    def get_workflow_handle(self, _: str) -> "Desk":
        return self

    async def execute_update(self, _: str, said: Decision, **__: object) -> Answer:
        self.told.append(said)
        return Answer(counted=True, because="counted: 1 of 1 approvals", at=datetime.now(UTC))


def approve(monkeypatch: pytest.MonkeyPatch, desk: Desk, *words: str) -> Any:
    """Say ``dr approve`` without a terminal."""

    def run(work: Callable[[Any, Settings], Awaitable[object]]) -> object:
        async def connected() -> object:
            return await work(desk, Settings())

        return asyncio.run(connected())

    async def the_open_one(*_: object) -> str:
        return "recovery/lab"

    async def look(*_: object) -> StatusView:
        return desk.view

    monkeypatch.setattr(orchestrator, "run", run)
    monkeypatch.setattr(orchestrator, "the_open_one", the_open_one)
    monkeypatch.setattr(orchestrator, "look", look)
    return CliRunner().invoke(app, ["approve", "swap", "--by", "approver", "--json", *words])


@pytest.mark.parametrize(
    ("loss", "typed"),
    [(0, ()), (30, ("--accept-loss", "30")), (None, ("--accept-loss", "unknown"))],
)
def test_the_stated_loss_typed_back_is_an_approval_also_where_none_was_measured(
    monkeypatch: pytest.MonkeyPatch, loss: int | None, typed: tuple[str, ...]
) -> None:
    desk = Desk(loss)
    said = approve(monkeypatch, desk, *typed)
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["data"]["counted"] is True
    assert [(one.verb, one.digest) for one in desk.told] == [("approve", "d1")]


@pytest.mark.parametrize(
    ("loss", "typed", "hint"),
    [
        (30, (), "--accept-loss 30"),
        (30, ("--accept-loss", "0"), "--accept-loss 30"),
        (30, ("--accept-loss", "unknown"), "--accept-loss 30"),
        (None, (), "--accept-loss unknown"),
        (None, ("--accept-loss", "0"), "--accept-loss unknown"),
        (None, ("--accept-loss", "-1"), "--accept-loss unknown"),
        (None, ("--accept-loss", "None"), "--accept-loss unknown"),
    ],
)
def test_what_is_not_the_stated_loss_is_refused_with_the_words_to_type(
    monkeypatch: pytest.MonkeyPatch, loss: int | None, typed: tuple[str, ...], hint: str
) -> None:
    desk = Desk(loss)
    said = approve(monkeypatch, desk, *typed)
    assert isinstance(said.exception, Refused), said.output
    assert said.exception.code == "loss-not-accepted"
    assert hint in said.exception.hint
    assert desk.told == []
