"""Chromium on the Web UI of the lab that the end-to-end tests have."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from infra.temporal import server
from tests.browser.console import Console
from tests.e2e.session import sound
from tests.e2e.stand import Stand
from tests.faults.harness.stand import FaultStand

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".artifacts" / "browser"
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LIMIT_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here the time that a recovery and a browser may take on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


def why_no_browser() -> str:
    """Return why Chromium cannot run here: what the set-up said, or that it is missing."""
    said = Path(os.environ.get("DR_STATE", ROOT / ".dr")) / "setup" / "no-browser"
    if said.is_file():
        return said.read_text(encoding="utf-8").strip() or "the set-up found no browser"
    return (
        "" if shutil.which(CHROMIUM) else f"{CHROMIUM} is missing; make setup installs it as root on Debian"
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the browser; where there is none, the reason is said before a lab is started for it."""
    if reason := why_no_browser():
        pytest.skip(reason)
    return CHROMIUM


@pytest.fixture
def stand(chromium: str, lab_stand: FaultStand) -> Iterator[Stand]:
    with sound(lab_stand) as stand:
        yield stand


@pytest.fixture
def console(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Console]:
    endpoint = server.status(stand.temporal)
    assert endpoint is not None
    pictures = PICTURES / request.node.name
    shutil.rmtree(pictures, ignore_errors=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            yield Console(page, endpoint.ui, pictures)
        finally:
            browser.close()
