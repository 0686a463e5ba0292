"""Gates under attack: every attempt is on the record, and none counts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.approval import Answer, Verb
from domain.gates import GatePolicy
from domain.incident import RecoveryRequest, StatusView
from tests.domain.people import FIRST, PEM, SECOND, STRANGER, other_base64
from tests.faults.record import Seen
from tests.runbooks.conftest import Bench
from tests.runbooks.gate_stage import (
    ROLES,
    Handle,
    decisions,
    page,
    raw,
    replays,
    report,
    set_gates,
    signed,
    spoken,
    tell,
)

pytestmark = pytest.mark.timeout(120)

STRICT = GatePolicy(quorum=2, signed="required")


def ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


FORGERIES: dict[str, tuple[Callable[[StatusView], dict[str, str]], str]] = {
    "unsigned": (spoken, "only signed decisions count here"),
    "without a digest": (lambda v: signed(v, digest=""), "must quote the digest"),
    "with a wrong digest": (lambda v: signed(v, digest="0" * 16), "of another brief"),
    "for another gate": (lambda v: signed(v, gate="failover"), "the open gate is 'swap'"),
    "for another run": (lambda v: signed(v, run="another"), "meant for the run another"),
    "signed for another run": (lambda v: signed(v, run="another") | {"run": ""}, "over this run"),
    "by who asked": (lambda v: signed(v, by=SECOND), "who asked for the recovery may not"),
    "without the role": (lambda v: signed(v, by="an auditor", pem=PEM[FIRST]), "does not hold a role"),
    "by a stranger": (lambda v: signed(v, by=STRANGER), "does not hold a role"),
    "expired": (lambda v: signed(v, issued=ago(3), expires=ago(2)), "expired at"),
    "that never expires": (lambda v: signed(v, expires="2999-01-01T00:00:00Z"), "1 day at most"),
    "with the wrong key": (lambda v: signed(v, pem=PEM[STRANGER]), "is not that of first person"),
    "with another's key": (lambda v: signed(v, pem=PEM[SECOND]), "is not that of first person"),
    "of a rejection": (lambda v: signed(v, verb=Verb.REJECT), "is not that of first person"),
    "by nobody": (lambda v: signed(v) | {"by": ""}, "say who you are"),
    "under a look-alike name": (lambda v: signed(v) | {"by": "f\u0456rst person"}, "look alike"),
    "with an escape": (lambda v: signed(v) | {"by": "first person\x1b[2K"}, "invisible character"),
}


GENUINE = {"without a digest", "with a wrong digest", "for another gate", "by who asked"}
"""Really said by the person, and not counted all the same."""


@pytest.mark.fault("F3")
@pytest.mark.fault("F4")
async def test_no_forged_or_replayed_approval_counts_through_any_door(bench: Bench, seen: Seen) -> None:
    """F-F3, F-F4: unauthorised, forged, self-approved, stale, replayed and expired approvals."""
    set_gates(bench, ROLES, swap=STRICT)
    handle = await bench.start(RecoveryRequest(requested_by=SECOND))
    view = await bench.until(handle, "gate")
    for what, (forged, because) in FORGERIES.items():
        told = await tell(handle, "approve", forged(view))
        assert (told.counted, because in told.because) == (False, True), f"{what}: {told.because}"
        await handle.signal("approve", forged(view))
    still = await bench.until(handle, "gate")
    assert still.approved_by == ()
    assert "ensure_writers_stopped" not in bench.hands.called
    await tell(handle, "abort", {"by": FIRST, "reason": "enough of this"})
    lines = decisions(await handle.result())
    assert [line["counted"] for line in lines] == [False] * 2 * len(FORGERIES) + [True]
    for (what, (_, because)), line in zip(FORGERIES.items(), lines[::2], strict=False):
        assert because in line["because"], what
    signed_by_their_author = {
        what for what, line in zip(FORGERIES, lines[::2], strict=False) if line["signed"]
    }
    assert signed_by_their_author == GENUINE
    await replays(handle)
    seen(f"{len(lines) - 1} attempts were refused, each with its reason")


@pytest.mark.fault("F4")
async def test_a_signed_approval_of_an_earlier_run_opens_nothing_in_the_next(
    bench: Bench, seen: Seen
) -> None:
    """F-F4: an approval for another run is replayed."""
    set_gates(bench, ROLES, swap=GatePolicy(signed="required"))
    first = await bench.start()
    view = await bench.until(first, "gate")
    kept = signed(view)
    await tell(first, "abort", {"by": FIRST, "reason": "another time"})
    await first.result()
    second = await bench.start()
    again = await bench.until(second, "gate")
    assert again.digest != view.digest
    refusals = [
        (await tell(second, "approve", kept)).because,
        (await tell(second, "approve", kept | {"run": "", "digest": again.digest})).because,
        (await tell(second, "approve", kept | {"run": again.run_id, "digest": again.digest})).because,
    ]
    assert "is meant for the run" in refusals[0]
    assert all("is not that of first person over this run" in because for because in refusals[1:])
    assert (await bench.until(second, "gate")).approved_by == ()
    seen(refusals[1])


async def test_a_signature_counts_once_whoever_sends_it_again(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=STRICT)
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    message = signed(view)
    assert (await tell(handle, "approve", message)).counted
    again = await tell(handle, "approve", message | {"id": "another click"})
    assert (again.counted, "has approved already" in again.because) == (False, True)
    assert (await tell(handle, "approve", signed(view, by=SECOND))).counted
    result = await handle.result()
    assert result.outcome == "recovered"
    assert [(d["counted"], d["signed"]) for d in decisions(result)] == [
        (True, True),
        (False, False),
        (True, True),
    ]


async def test_a_signature_that_was_tampered_with_counts_not_even_as_a_claim(bench: Bench) -> None:
    set_gates(bench, ROLES, swap=GatePolicy(signed="optional"))
    handle = await bench.start()
    message = signed(await bench.until(handle, "gate"))
    told = await tell(handle, "approve", message | {"signature": other_base64(message["signature"])})
    assert (told.counted, "is not that of" in told.because) == (False, True)


# -- what is no decision at all -------------------------------------------------------------------

GARBAGE: dict[str, tuple[Any, str]] = {
    "cut off": (raw(b'{"gate": "swap", "by": "first person"'), "not understood"),
    "no JSON": (raw(b"approve please"), "not understood"),
    "empty": (raw(b""), "not understood"),
    "a list": (raw(b"[]"), "not understood"),
    "null": (raw(b"null"), "not understood"),
    "a number": (raw(b"42"), "not understood"),
    "an unknown key": (raw(b'{"by": "first person", "digst": "x"}'), "digst"),
    "a wrong type": (raw(b'{"by": {"name": "first person"}}'), "by: "),
    "a lone surrogate": (raw(b'{"by": "\\ud800"}'), "not understood"),
    "bytes that are no text": (raw(b"\xff\xfe\x00"), "not understood"),
    "too deep": (raw(b"[" * 20_000), "not understood"),
    "too long": (raw(b'{"reason": "' + b"x" * 1_000_000 + b'"}'), "reason: "),
    "another encoding": (raw(b"{}", "json/protobuf"), "one JSON object is needed, not json/protobuf"),
    "no encoding": (raw(b"{}", ""), "one JSON object is needed"),
    "nothing but a null": (raw(b"", "binary/null"), "say who you are"),
    "markup": (raw(b'{"<img src=x onerror=alert(1)>": 1}'), "<img"),
}


async def test_whatever_is_typed_into_the_signal_form_is_on_the_record_and_stops_nothing(
    bench: Bench,
) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    for what, (payload, because) in GARBAGE.items():
        told: Answer = await handle.execute_update("decide", payload, result_type=Answer)
        assert (told.counted, because in told.because) == (False, True), f"{what}: {told.because}"
        for verb in ("approve", "reject", "abort"):
            await handle.signal(verb, payload)
    await handle.signal("approve", args=[spoken(view), spoken(view, by=SECOND)])
    await handle.signal("approve")
    assert (await bench.until(handle, "gate")).approved_by == ()
    await handle.signal("approve", spoken(view))
    result = await handle.result()
    assert result.outcome == "recovered"
    lines = decisions(result)
    assert len(lines) == 4 * len(GARBAGE) + 3
    assert [line["counted"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "2 payloads" in lines[-3]["because"]
    assert "say who you are" in lines[-2]["because"]
    assert "<img src=x" not in page(result)
    await replays(handle)


@pytest.mark.fault("K6")
@pytest.mark.fault("K8")
async def test_a_reason_with_markup_and_control_characters_is_shown_as_text(bench: Bench, seen: Seen) -> None:
    """F-K6, F-K8: escapes, direction marks, templates, scripts and images in a reason."""
    nasty = "\x1b[31m\u202e{{ 7*7 }}<script>alert(1)</script>![x](http://evil.test/x.png)\r\n=cmd()\x00"
    handle: Handle = await bench.start()
    view = await bench.until(handle, "gate")
    await tell(handle, "hold", {"by": FIRST, "reason": nasty})
    await handle.signal("approve", spoken(view, reason=nasty))
    await bench.until(handle, "held")
    details = (await handle.query("__temporal_workflow_metadata")).current_details
    await tell(handle, "resume", {"by": FIRST})
    result = await handle.result()
    lines = [line["because"] for line in decisions(result)]
    assert all("\x1b" not in line and "\u202e" not in line and "\n" not in line for line in lines)
    assert "{{ 7*7 }}" in lines[0]
    assert "<script>alert(1)" not in page(result)
    assert "49" not in lines[0]
    assert "](http://evil" not in details
    assert "<script>" not in details
    assert "\x1b" not in details
    seen(lines[0])


async def test_a_flood_of_attempts_leaves_room_for_the_decision_that_counts(bench: Bench) -> None:
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    for number in range(230):
        await handle.signal("reject", {"by": f"person {number}", "gate": "failover", "reason": "x" * 2000})
    await handle.signal("approve", spoken(view))
    result = await handle.result()
    lines = decisions(result)
    assert len(lines) == 201
    assert lines[-1]["counted"]
    assert report(result)["decisions_left_out"] == 30
    assert "30 more refused attempts" in page(result)
