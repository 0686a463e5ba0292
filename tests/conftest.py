"""Gives each test its tier by the folder it lives in, so that ``pytest -m unit`` means what it says."""

from pathlib import Path

import pytest

from activities.tokens import admitted

pytest_plugins = ["tests.faults.record", "tests.e2e.session"]

TESTS = Path(__file__).parent
TIER_OF_FOLDER = {
    "alerts": "hand",
    "architecture": "unit",
    "browser": "browser",
    "domain": "unit",
    "drills": "e2e",
    "e2e": "e2e",
    "faults": "kill",
    "hands": "hand",
    "lab": "lab",
    "other": "e2e",
    "replay": "wf",
    "runbooks": "wf",
}
TIERS = set(TIER_OF_FOLDER.values())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that names no tier itself with the tier of its folder."""
    for item in items:
        if TIERS & {mark.name for mark in item.iter_markers()}:
            continue
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in TIER_OF_FOLDER:
            item.add_marker(TIER_OF_FOLDER[folder])


@pytest.fixture(autouse=True)
def nothing_admitted() -> None:
    """Have no test go on as the hand that the test before it called in the same thread."""
    admitted.set(None)
