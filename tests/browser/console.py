"""The Web UI as a person uses it: the start form, one run's pages, the dialog that sends a signal."""

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from playwright.sync_api import Error, Locator, Page
from playwright.sync_api import TimeoutError as PageTimeout

from domain import names

LONG_MS = 120_000
RELOAD_SECONDS = 40.0
"""The page answers its own query late on a busy machine; loading it again too early calls that off."""


class Console:
    """One browser page on the Web UI of one Temporal server; keeps a screenshot of each stage."""

    def __init__(self, page: Page, ui: str, pictures: Path) -> None:
        self.page = page
        self.ui = f"{ui}/namespaces/default"
        self.pictures = pictures
        self._taken = 0
        pictures.mkdir(parents=True, exist_ok=True)
        page.set_default_timeout(LONG_MS)

    def picture(self, name: str) -> Path:
        """Keep what the page shows now."""
        self._taken += 1
        path = self.pictures / f"{self._taken:02}-{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def open_start_form(self, workflow_id: str) -> None:
        """Open the start form by the link that fills it in."""
        filled = {
            "workflowType": "DatabaseCorruption",
            "taskQueue": names.CONTROL_QUEUE,
            "workflowId": workflow_id,
        }
        button = self.page.get_by_test_id("start-workflow-button")
        for patience_ms in (30_000, 30_000, 120_000):
            # On a busy machine the page now and then stays empty; a person loads it again.
            self.page.goto(f"{self.ui}/workflows/start-workflow?{urlencode(filled)}")
            try:
                button.wait_for(timeout=patience_ms)
            except PageTimeout:
                continue
            return
        button.wait_for()

    def filled_in(self) -> list[str]:
        """Return the values of the form's fields."""
        fields = self.page.locator("input[type=text]:visible, input:not([type]):visible").all()
        return [field.input_value() for field in fields]

    def start_with(self, typed: str) -> str:
        """Type the input, start the run, and return its id as the server answered it to the page."""
        self._type(typed)
        self.picture("start-form")
        with self.page.expect_response(lambda said: said.request.method == "POST") as answered:
            self._visible(self.page.get_by_test_id("start-workflow-button")).click()
        said = answered.value
        assert said.ok, said.text()
        self.page.wait_for_timeout(500)
        self.picture("started")
        return str(said.json()["runId"])

    def open_run(self, workflow_id: str, run_id: str, tab: str) -> None:
        """Open one of a run's tabs, named as in its address: ``timeline``, ``user-metadata``."""
        self.page.goto(f"{self.ui}/workflows/{quote(workflow_id, safe='')}/{run_id}/{tab}")

    def show_long_pages(self) -> None:
        """Make the window so high that a whole timeline is drawn: the page draws only what is seen."""
        self.page.set_viewport_size({"width": 1400, "height": 2400})

    def until_text(self, text: str, seconds: float = 180) -> str:
        """Wait until the page shows a text, loading it again now and then; return the page's text."""
        deadline = time.monotonic() + seconds
        again = time.monotonic() + RELOAD_SECONDS
        while text not in (shown := self.text()):
            if time.monotonic() > deadline:
                self.picture("never-came")
                message = f"the page never showed {text!r} but:\n{shown[-3000:]}"
                raise AssertionError(message)
            self.page.wait_for_timeout(500)
            if time.monotonic() > again:
                again = time.monotonic() + RELOAD_SECONDS
                self.page.reload()
        return shown

    def text(self) -> str:
        """Return all text of the page; Markdown is shown in a frame of its own."""
        said = []
        for frame in self.page.frames:
            # The page puts a new frame in the place of the old one whenever the details change.
            with suppress(Error):
                said.append(frame.locator("body").inner_text())
        return "\n".join(said)

    def json_to_paste(self, details: str) -> dict[str, Any]:
        """Return the JSON that the current details show."""
        found = re.search(r"\{\s*\"gate\".*?\}", details, re.DOTALL)
        assert found, "the current details show no JSON to paste"
        said: dict[str, Any] = json.loads(found.group())
        return said

    def send_signal(self, name: str, message: dict[str, Any]) -> None:
        """Send a signal by "More Actions"."""
        self._visible(self.page.get_by_role("button", name=re.compile("More Actions"))).click()
        self._visible(self.page.get_by_text("Send a Signal")).click()
        dialog = self._visible(self.page.get_by_test_id("signal-confirmation-modal"))
        self.picture("signal-dialog")
        dialog.locator("button:has([data-testid=signal-select])").click()
        dialog.get_by_role("option", name=re.compile(rf"^\s*{name}\b")).click()
        self._type(json.dumps(message))
        self.picture("signal-filled-in")
        dialog.get_by_role("button", name="Submit").click()
        dialog.wait_for(state="hidden")

    def _type(self, text: str) -> None:
        editor = self._visible(self.page.locator('[aria-label="Data"], .cm-content'))
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)
        # Leaving the editor lays the JSON out again and moves the buttons.
        self.page.keyboard.press("Tab")
        self.page.wait_for_timeout(700)

    def _visible(self, found: Locator) -> Locator:
        """Return the one that can be seen: menus and dialogs exist twice in the page."""
        deadline = time.monotonic() + LONG_MS / 1000
        while True:
            for one in found.all():
                if one.is_visible():
                    return one
            if time.monotonic() > deadline:
                self.picture("not-visible")
                raise AssertionError(f"nothing visible: {found}")
            self.page.wait_for_timeout(200)
