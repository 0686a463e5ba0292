"""The ledger belongs to one stack, and only that stack's file can keep it from starting."""

from pathlib import Path

import pytest

from domain.errors import Refused
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
