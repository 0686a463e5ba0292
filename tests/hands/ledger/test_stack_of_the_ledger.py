"""Each stack has a ledger, and only that stack's file can keep it from starting."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import Refused
from infra import daemons, up
from worker.ledger import _stack
from worker.settings import REPOSITORY, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    (stacks / "a-broken.yaml").write_text("stack: a-broken\nno such key: 1\n")
    (stacks / "lab.yaml").write_text((REPOSITORY / "infra" / "stack.yaml").read_text())
    return Settings(state=tmp_path)


def test_a_broken_file_of_another_stack_does_not_stop_the_ledger(settings: Settings) -> None:
    assert _stack(settings, "lab", None).stack == "lab"


def test_a_stack_that_no_file_describes_is_refused(settings: Settings) -> None:
    with pytest.raises(Refused) as refused:
        _stack(settings, "other", None)
    assert refused.value.code == "stack-unknown"
    assert "lab" in refused.value.hint


@pytest.fixture
def directory(settings: Settings) -> Iterator[Path]:
    """Give out where the daemons are recorded, and end them afterwards."""
    found = up.run_directory(settings.state)
    yield found
    for name in daemons.names(found):
        daemons.stop(found, name)


def test_each_stack_has_a_ledger_until_its_file_is_gone(settings: Settings, directory: Path) -> None:
    shop = settings.state / "stacks" / "shop.yaml"
    shop.write_text("stack: shop\nproject: drtest-no-such\nservices:\n  db: {kind: postgres}\n")
    said: list[str] = []
    up.ensure_ledgers(settings, said.append)
    first = {name: daemons.recorded(directory, name) for name in daemons.names(directory)}
    assert set(first) == {"ledger-lab", "ledger-shop"}
    assert all(found is not None and found.argv[-1] in {"lab", "shop"} for found in first.values())
    assert any(line.startswith("ledger of a-broken is not started: ") for line in said)
    shop.unlink()
    up.ensure_ledgers(settings, said.append)
    assert not daemons.is_running(directory, "ledger-shop")
    assert daemons.recorded(directory, "ledger-lab") == first["ledger-lab"], "it goes on undisturbed"
