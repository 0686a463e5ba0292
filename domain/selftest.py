"""The verifier's self-test: checks are tested like code, by damage that each of them has to find. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from domain.inert import Quoted
from domain.order import Outcome, Value

MUTANTS: Mapping[str, str] = {
    "M1": "dump truncated",
    "M2": "dump empty, or of twenty bytes",
    "M3": "byte flipped in a compressed dump",
    "M4": "byte flipped in an uncompressed dump",
    "M5": "WAL segment missing in the middle",
    "M6": "WAL segment or history file of no use",
    "M7": "base backup altered",
    "M8": "table missing",
    "M9": "rows missing",
    "M10": "rows altered, in the same number",
    "M11": "heap page destroyed",
    "M12": "index or foreign key that lies",
    "M13": "role, right, policy, extension or sequence lost",
    "M14": "old backup presented as new",
    "M15": "another version or another cluster",
    "M16": "wrong key, no key, or no encryption",
    "M17": "server that takes no write",
    "M18": "recovered to another moment than was asked for",
    "M19": "empty database that answers",
    "M20": "object missing, surplus or other",
    "M21": "keys or documents missing or surplus",
    "M22": "old primary that still takes writes",
    "M23": "secret in what is kept",
    "M24": "audit file changed",
}
CONTROLS: Mapping[str, str] = {
    "Q1": "what is untouched",
    "Q2": "production wrote on after the backup",
    "Q3": "users deleted, their messages without an author",
    "Q4": "tables and indexes rewritten, statistics made anew",
    "Q5": "backup across a switch of the WAL",
    "Q6": "rows dated in the future",
}


class Verdict(StrEnum):
    """How a mutant ended."""

    KILLED = "killed"
    LIVED = "lived"
    NOT_MADE = "not made"
    """It could not be made, or was no other than the original; it counts as one that lived."""
    NO_STORE = "no such store"
    """The stack has no such service, so that nothing of it can be wrong; it is not counted."""


class MutantRow(Value):
    """One form of a mutant and what became of it."""

    mutant: str
    what: Quoted
    seen: Quoted = ""
    """The damage, as an independent look saw it before the check was asked."""
    check: str
    """The check that has to find it."""
    verdict: Verdict
    evidence: Quoted = ""
    """What the check said."""


class ControlRow(Value):
    """One state that is sound, held before one check."""

    control: str
    what: Quoted
    seen: Quoted = ""
    check: str
    passed: bool
    evidence: Quoted = ""


class Tried(Outcome):
    """What one hand tried."""

    mutants: tuple[MutantRow, ...] = ()
    controls: tuple[ControlRow, ...] = ()


class Rate(Value):
    """Of one check: how many mutants it had to find, how many it found, how often it cried in vain."""

    check: str
    killed: int
    made: int
    false_alarms: int
    controls: int


class SelfTested(Outcome):
    """The whole self-test; a mutant is killed when each of its forms is."""

    passed: bool
    mutants_killed: int
    mutants: int
    controls_passed: int
    controls: int
    rates: tuple[Rate, ...] = ()
    rows: tuple[MutantRow, ...] = ()
    control_rows: tuple[ControlRow, ...] = ()


def sum_up(parts: Iterable[Tried]) -> SelfTested:
    """Put the parts together. What nobody tried is not made, and a control that nobody held is not passed."""
    parts = tuple(parts)
    rows = [row for part in parts for row in part.mutants]
    controls = [row for part in parts for row in part.controls]
    rows += [_untried(mutant) for mutant in MUTANTS if mutant not in {row.mutant for row in rows}]
    counted = [row for row in rows if row.verdict is not Verdict.NO_STORE]
    wanted = {row.mutant for row in counted}
    lived = {row.mutant for row in counted if row.verdict is not Verdict.KILLED}
    alarmed = {row.control for row in controls if not row.passed}
    silent = {row.control for row in controls} - alarmed
    well = not lived and bool(wanted) and silent >= CONTROLS.keys() and not alarmed
    killed = len(wanted - lived)
    return SelfTested(
        sentence=_sentence(
            killed, len(wanted), len(silent & CONTROLS.keys()), sorted(lived), sorted(alarmed)
        ),
        passed=well,
        mutants_killed=killed,
        mutants=len(wanted),
        controls_passed=len(silent & CONTROLS.keys()),
        controls=len(CONTROLS),
        rates=_rates(counted, controls),
        rows=tuple(sorted(rows, key=lambda row: int(row.mutant[1:]))),
        control_rows=tuple(sorted(controls, key=lambda row: row.control)),
    )


def _untried(mutant: str) -> MutantRow:
    return MutantRow(
        mutant=mutant,
        what=MUTANTS[mutant],
        check="none",
        verdict=Verdict.NOT_MADE,
        evidence="nothing tried it",
    )


def _rates(rows: Iterable[MutantRow], controls: Iterable[ControlRow]) -> tuple[Rate, ...]:
    rows, controls = tuple(rows), tuple(controls)
    names = sorted({row.check for row in rows} | {row.check for row in controls})
    rates = []
    for name in names:
        mine = [row for row in rows if row.check == name]
        held = [row for row in controls if row.check == name]
        rates.append(
            Rate(
                check=name,
                killed=sum(row.verdict is Verdict.KILLED for row in mine),
                made=len(mine),
                false_alarms=sum(not row.passed for row in held),
                controls=len(held),
            )
        )
    return tuple(rates)


def _sentence(killed: int, mutants: int, controls: int, lived: list[str], alarmed: list[str]) -> str:
    said = f"{killed} of {mutants} mutants killed, {controls} of {len(CONTROLS)} controls green"
    said += f"; not killed: {', '.join(lived)}" if lived else ""
    return said + (f"; false alarm at {', '.join(alarmed)}" if alarmed else "")
