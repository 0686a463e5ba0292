"""What ``dr backup verify --self-test`` prints, and how it ends."""

import json
from typing import Any

import pytest

from domain.selftest import CONTROLS, MUTANTS, ControlRow, MutantRow, SelfTested, Tried, Verdict, sum_up
from starter import orchestrator
from starter.answer import Exit
from starter.selftest import draw, self_test
from tests.hands.test_backup_commands import EVIL, drawn
from worker.settings import Settings


def found(*more: MutantRow, alarm: bool = False, said: str = "it is shorter") -> SelfTested:
    killed = tuple(
        MutantRow(
            mutant=one,
            what=f"damaged as {one}",
            seen="its hash is another",
            check="size",
            verdict=Verdict.KILLED,
            evidence=said,
        )
        for one in MUTANTS
    )
    held = tuple(
        ControlRow(
            control=one, what="sound", seen="it was seen", check="size", passed=not alarm, evidence="!"
        )
        for one in CONTROLS
    )
    return sum_up([Tried(mutants=(*killed, *more), controls=held)])


def test_each_mutant_is_shown_with_what_was_done_and_what_found_it() -> None:
    said = drawn(draw, found())
    line = next(line for line in said.splitlines() if "damaged as M7" in line)
    assert "its hash is another" in line
    assert "killed: it is shorter" in line
    assert "24 of 24 mutants killed, 6 of 6 controls green" in said
    assert "24 of 24" in next(line for line in said.splitlines() if line.strip().startswith("size"))


def test_a_survivor_and_a_false_alarm_are_shown_as_such() -> None:
    lived = MutantRow(mutant="M9", what="rows gone", check="rows", verdict=Verdict.LIVED)
    said = drawn(draw, found(lived, alarm=True))
    assert "lived" in next(line for line in said.splitlines() if "rows gone" in line)
    assert "FALSE ALARM" in said
    assert "not killed: M9" in said


def test_what_a_check_says_moves_no_terminal_and_forges_no_line() -> None:
    said = drawn(draw, found(said=EVIL))
    assert "\x1b" not in said
    assert not any(line.startswith("FORGED") for line in said.splitlines())


@pytest.mark.parametrize(("lived", "status"), [(False, Exit.DONE), (True, Exit.VERIFICATION_FAILED)])
async def test_a_survivor_ends_with_status_eight_and_programs_are_told_the_figures(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lived: bool,  # noqa: FBT001 - one of a table
    status: Exit,
) -> None:
    more = [MutantRow(mutant="M9", what="rows gone", check="rows", verdict=Verdict.NOT_MADE)] if lived else []
    started: list[Any] = []

    async def start(*given: Any) -> None:
        started.append(given[2:5])

    async def result_of(_: None) -> SelfTested:
        return found(*more)

    monkeypatch.setattr(orchestrator, "start", start)
    monkeypatch.setattr(orchestrator, "result_of", result_of)
    client: Any = None
    assert await self_test(client, Settings(default_stack="lab"), "", as_json=True) is status
    assert started[0][0] == "VerifierSelfTest"
    assert started[0][2] == "backup/lab/all/selftest"
    envelope = json.loads(capsys.readouterr().out)
    data = envelope["data"]
    assert envelope["command"] == "backup verify"
    assert (data["mutants"], data["controls_passed"], data["controls"]) == (24, 6, 6)
    assert data["mutants_killed"] == (23 if lived else 24)
    assert len(data["rows"]) == 24 + lived
