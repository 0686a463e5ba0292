"""A recovery from the Web UI alone: started by its form, read on its pages, approved by its signal."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.browser.console import Console
from tests.e2e.stand import Stand

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """Do something of asyncio in another thread: Playwright keeps this one's loop running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def test_a_recovery_is_started_read_approved_and_completed_in_the_web_ui(
    stand: Stand, console: Console
) -> None:
    injected = stand.damage_pages()
    lock = f"recovery/{stand.name}"

    console.open_start_form(lock)
    assert {lock, "dr-control", "DatabaseCorruption"} <= set(console.filled_in())
    run_id = console.start_with("{}")
    aside(lambda: stand.wait("gate"))

    console.open_run(lock, run_id, "timeline")
    shown = console.until_text("reminder: gate swap")
    console.picture("timeline-at-the-gate")
    for line in (
        "assess_corruption • Assess the corruption",
        "ensure_restored • Restore the backup into a new volume",
        "verify_copy • Verify data integrity on the copy",
    ):
        assert line in shown

    console.open_run(lock, run_id, "user-metadata")
    details = console.until_text("waiting at the gate swap")
    console.picture("current-details-at-the-gate")
    assert "✓ Verify data integrity on the copy" in details
    assert injected.table in details

    console.send_signal("approve", console.json_to_paste(details) | {"by": "somebody at the Web UI"})
    report = aside(lambda: stand.to_the_end(run_id))

    console.show_long_pages()
    console.open_run(lock, run_id, "timeline")
    console.until_text("COMPLETED")
    shown = console.until_text("observe_stack • Load the stack")
    console.picture("completed")
    assert '"outcome": "recovered"' in shown
    assert "ensure_swapped_in • Swap the restored volume in" in shown
    assert "\napprove\n" in shown
    assert report["outcome"] == "recovered"
    assert [said["by"] for said in report["decisions"] if said["counted"]] == ["somebody at the Web UI"]


def test_a_misspelt_input_fails_that_run_with_a_sentence_that_names_the_key(
    stand: Stand, console: Console
) -> None:
    console.open_start_form("recovery/typo")
    run_id = console.start_with('{"stak": 1}')
    console.open_run("recovery/typo", run_id, "timeline")
    console.until_text("FAILED")
    shown = console.until_text("stak")
    console.picture("misspelt")
    assert "Extra inputs are not permitted" in shown
