"""What ``dr`` shows while it waits: the last word of the hand at work, in one line that is renewed."""

import io
import json

import pytest
from rich.console import Console
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from starter.progress import Line, said_by


class Described:
    """A description as the server sends it."""

    def __init__(self, *pending: dict[str, object]) -> None:
        self.raw_description = DescribeWorkflowExecutionResponse()
        for facts in pending:
            one = self.raw_description.pending_activities.add(attempt=int(str(facts.get("attempt", 1))))
            if "said" in facts:
                data = json.dumps(facts["said"]).encode()
                one.heartbeat_details.payloads.append(
                    Payload(metadata={"encoding": b"json/plain"}, data=data)
                )
            if "failed" in facts:
                one.last_failure.message = str(facts["failed"])


async def said(*pending: dict[str, object]) -> str:
    return await said_by(Described(*pending))  # type: ignore[arg-type]  # the one field that is read


async def test_the_last_heartbeat_is_what_is_said() -> None:
    assert await said({"said": "fetching 34 %: 1.20 GB of 3.50 GB"}) == "fetching 34 %: 1.20 GB of 3.50 GB"


@pytest.mark.parametrize("details", [7, {"a": 1}, None])
async def test_heartbeats_of_another_kind_are_not_shown(details: object) -> None:
    assert await said({"said": details}) == ""


async def test_an_attempt_after_a_failure_says_why() -> None:
    assert await said({"attempt": 3, "failed": "the store is away"}) == (
        "attempt 3, for the last one failed: the store is away"
    )


async def test_nothing_at_work_says_nothing() -> None:
    assert await said() == ""


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then_and_never_twice() -> None:
    text, now = io.StringIO(), [0.0]
    with Line(Console(file=text, width=200), clock=lambda: now[0]) as line:
        for seconds, sentence in ((0, "1 %"), (1, "2 %"), (11, "3 %"), (30, "3 %"), (31, ""), (45, "4 %")):
            now[0] = float(seconds)
            line.show(sentence)
    assert text.getvalue().split("\n") == ["1 %", "3 %", "4 %", ""]


def test_on_a_terminal_the_line_is_renewed_in_its_place_and_taken_away() -> None:
    text = io.StringIO()
    with Line(Console(file=text, width=80, force_terminal=True)) as line:
        line.show("[bold]2 %\x1b[31m")
    shown = text.getvalue()
    assert shown.count("2 %") == 1
    assert "[bold]2 %" in shown, "what a hand says is no markup"
    assert "\x1b[31m" not in shown
    assert shown.endswith("\x1b[2K"), "the line is gone"
