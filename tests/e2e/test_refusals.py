"""What ``dr`` refuses, it refuses before anything is stopped or made."""

from collections.abc import Iterator

import pytest

from tests.e2e.stand import Stand
from tests.e2e.witness import Host
from tests.faults.record import Seen


@pytest.fixture(autouse=True)
def nothing_is_changed(stand: Stand, host: Host) -> Iterator[None]:
    """Compare containers, volumes and our own jobs before and after each refusal."""
    before = (host.services(), host.volumes(), host.ours())
    yield
    assert (host.services(), host.volumes(), host.ours()) == before


@pytest.mark.parametrize("plan", [(), ("--no-plan",)], ids=["planned first", "at once"])
def test_an_unknown_stack_is_refused(stand: Stand, plan: tuple[str, ...]) -> None:
    said = stand.dr("recover", "corruption", *plan, "--yes-stack", "nowhere", "--stack", "nowhere")
    assert said.code == 5, said
    assert "no stack is named nowhere" in said.out + said.progress


@pytest.mark.fault("B3")
def test_a_container_of_the_right_name_from_another_project_is_refused(stand: Stand, seen: Seen) -> None:
    """F-B3: the container of the right name is of another project than the stack file says."""
    foreign = stand.foreign
    said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", foreign, "--stack", foreign)
    assert said.code == 5, said
    told = said.out + said.progress
    assert f"{stand.prefix}_postgres" in told
    assert f"belongs to project {stand.settings.project}" in told
    seen(f"{stand.prefix}_postgres belongs to project {stand.settings.project}")


def test_an_unknown_key_in_the_stack_file_is_refused_with_its_name_and_line(stand: Stand) -> None:
    text = stand.stack_file.read_text()
    lines = text.splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("backup:")) + 1
    lines.insert(number, "  shelve: elsewhere")
    stand.stack_file.write_text("\n".join(lines))
    try:
        said = stand.dr("recover", "corruption", "--no-plan", "--yes-stack", stand.name)
    finally:
        stand.stack_file.write_text(text)
    assert said.code == 5, said
    told = (said.out + said.progress).replace("\n", " ")
    assert "shelve" in told
    assert f"line {number + 1}" in told or f":{number + 1}" in told


def test_a_stack_whose_name_nobody_confirmed_is_not_started(stand: Stand) -> None:
    said = stand.dr("recover", "corruption", "--no-plan")
    assert said.code == 5, said
    assert said.error["code"] == "not-confirmed"


def test_a_decision_about_no_open_recovery_is_refused(stand: Stand) -> None:
    said = stand.dr("approve", "swap")
    assert said.code == 5, said
    assert said.error["code"] == "no-open-run"


def test_a_release_of_what_no_recovery_kept_is_refused(stand: Stand) -> None:
    said = stand.dr("release", "20200101T0000Z-00000000", "--yes")
    assert said.code == 5, said
    assert "kept nothing aside" in said.error["what"]
