"""What anybody may type into the Web UI, send as a signal, or make a service say: no run is blocked by it."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.converter import DefaultPayloadConverter

from domain import names
from domain.errors import Refused, VerificationFailed
from domain.incident import RecoveryRequest
from domain.order import Outcome
from domain.recovery import Judged, Proof
from tests.faults.record import Seen
from tests.runbooks.conftest import Bench

pytestmark = pytest.mark.timeout(120)

MARKUP = "{{ 7*7 }} <script>alert(1)</script> ![x](http://evil.example/i.png) [a](javascript:b) =cmd()"
CONTROL = "a\x00b\nFORGED\x1b[2J\u202eexe.\u200b"
TYPED: list[tuple[str, dict[str, object]]] = [
    ("K1", {"stack": "../../etc"}),
    ("K1", {"stack": "/etc/passwd"}),
    ("K3", {"stack": "x; rm -rf /"}),
    ("K3", {"stack": "$(id)"}),
    ("K4", {"stack": "--privileged"}),
    ("K6", {"stack": "sh\u043ep"}),
    ("K6", {"stack": "x\u0000\u001b[31m"}),
    ("K6", {"reason": "r" * 100_000}),
    ("K7", {"stack": ["x"] * 1000}),
]


async def told(handle: Any) -> str:
    """Return everything that a history holds, payloads and failures included, as text."""
    events = (await handle.fetch_history()).events
    return b"\n".join(event.SerializeToString() for event in events).decode(errors="replace")


def page_of(state: Path, ending: str) -> str:
    """Return the one report that was written."""
    (page,) = state.glob(f"reports/*/*/report.{ending}")
    return page.read_text()


@pytest.mark.parametrize(
    ("row", "typed"),
    [
        pytest.param(row, typed, marks=pytest.mark.fault(row, at_length=n > 0))
        for n, (row, typed) in enumerate(TYPED)
    ],
    ids=[f"{row}-{next(iter(typed))}-{number}" for number, (row, typed) in enumerate(TYPED)],
)
async def test_what_is_typed_in_the_place_of_a_stack_fails_that_run_in_words_and_nothing_is_called(
    bench: Bench, row: str, typed: dict[str, object], seen: Seen
) -> None:
    """F-K1, F-K3, F-K4, F-K6, F-K7: paths, commands, options, look-alikes and endless texts in the form."""
    handle = await bench.client.start_workflow(
        "DatabaseCorruption", typed, id="recovery/lab", task_queue=names.CONTROL_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    said = str(failed.value.cause)
    field, value = next(iter(typed.items()))
    assert field in said
    assert str(value) not in said
    assert len(said) < 4000
    assert bench.hands.called == []
    seen(said.splitlines()[0])


@pytest.mark.fault("K7", at_length=True)
async def test_json_that_nests_without_end_fails_that_run_and_the_next_one_runs(
    bench: Bench, seen: Seen
) -> None:
    """F-K7: deep JSON typed into the form."""
    payload = DefaultPayloadConverter().to_payloads([{}])[0]
    payload.data = b'{"stack":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    handle = await bench.client.start_workflow(
        "DatabaseCorruption", RawValue(payload), id="recovery/deep", task_queue=names.CONTROL_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert bench.hands.called == []
    seen(str(failed.value.cause)[:200])
    sound = await bench.start()
    await bench.until(sound, "gate")
    await sound.signal("abort", {"by": "an operator", "reason": "enough"})
    assert (await sound.result()).outcome == "aborted"


@pytest.mark.fault("K6")
async def test_hostile_words_of_people_are_on_the_record_escaped_and_stop_nothing(
    bench: Bench, tmp_path: Path, seen: Seen
) -> None:
    """F-K6: control characters and megabytes in names, reasons and digests that are sent."""
    handle = await bench.start(RecoveryRequest(requested_by="somebody else", reason=CONTROL))
    view = await bench.until(handle, "gate")
    for verb in ("approve", "reject", "hold", "retry", "skip", "abort", "resume"):
        await handle.signal(verb, {"by": CONTROL, "reason": CONTROL, "gate": CONTROL, "digest": CONTROL})
        await handle.signal(verb, {"by": "x" * 500_000, "reason": "y" * 500_000, "digest": view.digest})
    for _ in range(20):
        told = await handle.execute_update(
            "decide", {"verb": "approve", "by": CONTROL, "digest": "z" * 90_000}
        )
        assert not told["counted"]
        assert len(told["because"]) < 2000
    assert (await bench.until(handle, "gate")).digest == view.digest
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    result = await handle.result()
    assert result.outcome == "recovered"
    for ending in ("md", "html", "yaml", "json"):
        text = page_of(tmp_path, ending)
        assert not {"\x00", "\x1b", "\u202e", "\u200b"} & set(text), ending
        assert "\nFORGED" not in text
    report = json.loads(page_of(tmp_path, "json"))
    refused = [line for line in report["decisions"] if not line["counted"]]
    assert len(refused) >= 14 + 20
    assert len(json.dumps(report)) < 200_000
    seen(f"{len(refused)} refused decisions on the record, the first by {refused[0]['by']!r}")


@pytest.mark.fault("K6", at_length=True)
async def test_a_step_that_says_ten_megabytes_is_cut_and_the_run_goes_on(bench: Bench, seen: Seen) -> None:
    """F-K6: a 10 MB sentence and a 10 MB proof in the answer of a hand."""
    huge = "password=S3cret-of-a-log \x1b[31m" + "x" * 10_000_000
    bench.hands.answer("ensure_quiet", lambda _: Outcome(sentence=huge))
    bench.hands.answer(
        "verify_metadata",
        lambda _: Judged(passed=True, sentence=huge, proofs=(Proof(name=huge, passed=True, evidence=huge),)),
    )
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    assert (await handle.result()).outcome == "recovered"
    text = await told(handle)
    assert "S3cret-of-a-log" not in text
    assert "more characters)" in text
    assert len(text) < 5_000_000
    seen(f"the whole history has {len(text)} characters")


@pytest.mark.fault("K6")
@pytest.mark.parametrize("kind", ["ours", pytest.param("foreign", marks=pytest.mark.long)])
async def test_a_failure_of_ten_megabytes_parks_the_run_with_its_beginning(
    bench: Bench, kind: str, seen: Seen
) -> None:
    """F-K6: an error whose message is endless and quotes a secret, of ours and of a library."""
    said = "refused by postgres://app:S3cret-of-a-dsn@db/x " + "x" * 10_000_000

    def failing(_: Any) -> Outcome:
        if kind == "ours":
            raise VerificationFailed(said, where=said, hint=said, code="broken") from ValueError(said)
        raise UnicodeError(said)

    bench.hands.answer("ensure_restored", failing)
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert view.parked_code == ("broken" if kind == "ours" else "unexpected")
    assert view.parked_reason.startswith("refused by postgres://app:***@db/x")
    assert "S3cret-of-a-dsn" not in await told(handle)
    await handle.signal("abort", {"by": "an operator", "reason": "enough"})
    assert (await handle.result()).outcome == "aborted"
    seen(view.parked_reason[:100])


@pytest.mark.fault("K6", at_length=True)
async def test_an_answer_that_the_server_would_not_take_parks_the_run_and_says_so(
    bench: Bench, seen: Seen
) -> None:
    """F-K6: an answer above what Temporal takes, which would be sent again without end."""
    many = tuple(Proof(name=f"check {number}", passed=True, evidence="e" * 1900) for number in range(1500))
    bench.hands.answer("verify_metadata", lambda _: Judged(passed=True, proofs=many))
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    parked = await bench.until(handle, "needs_human")
    assert parked.parked_code == "answer-too-large"
    bench.hands.answer("verify_metadata", lambda _: Judged(passed=True))
    await handle.signal("retry", {"by": "an operator", "reason": "smaller now"})
    assert (await handle.result()).outcome == "recovered"
    seen(parked.parked_reason)


@pytest.mark.fault("K8")
async def test_markup_in_a_reason_a_log_line_and_an_approver_is_text_everywhere(
    bench: Bench, tmp_path: Path, seen: Seen
) -> None:
    """F-K8: templates, scripts, Markdown images and formulas by way of reason, approver and service reply."""
    bench.hands.fail("ensure_restored", Refused(f"last log line: {MARKUP}", code="broken"), times=1)
    handle = await bench.start(RecoveryRequest(requested_by=f"{MARKUP} asks", reason=MARKUP))
    await bench.until(handle, "needs_human")
    shown = (await handle.query("__temporal_workflow_metadata")).current_details
    assert "7*7" in shown.replace("\\", "")
    assert "](http" not in shown.replace("\\]", "")
    assert "http://" not in shown
    assert "<script" not in shown
    await handle.signal("retry", {"by": MARKUP, "reason": MARKUP})
    view = await bench.until(handle, "gate")
    await handle.signal("hold", {"by": "an operator", "reason": MARKUP})
    held = (await handle.query("__temporal_workflow_metadata")).current_details
    assert "http://" not in held
    await handle.signal("resume", {"by": "an operator"})
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": MARKUP, "reason": MARKUP})
    assert (await handle.result()).outcome == "recovered"
    html, text = page_of(tmp_path, "html"), page_of(tmp_path, "md")
    assert "<script" not in html
    assert "{{ 7*7 }}" in html
    assert "<script" not in text
    assert "](http" not in text.replace("\\]", "")
    assert json.loads(page_of(tmp_path, "json"))["decisions"][0]["by"] == MARKUP
    seen("literal in the console of the run, in HTML and in Markdown")


@pytest.mark.fault("K1", at_length=True)
async def test_a_workflow_id_of_dots_and_slashes_names_no_file(bench: Bench, seen: Seen) -> None:
    """F-K1: a workflow id with dots and slashes, from which names of files are made."""
    result = await (await bench.start(workflow_id="recovery/../../../tmp/x")).result()
    assert result.outcome == "stood_down"
    assert result.report.endswith("report.html")
    assert ".." not in result.report
    seen(result.report)
