"""Faults on purpose: where they strike, and what was seen of them.

Plans and marks are files: they outlive the process that they kill.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

Act = Literal["raise", "kill", "stop", "delay"]
Side = Literal["before", "after"]
Victim = Literal["worker", "temporal"]

_MASKS = (
    (re.compile(r"\d{8}T\d{4,6}Z-[0-9a-z]+"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<hex>"),
    (re.compile(r"\bs?[0-9a-f]{8}\b"), "<hex>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "<uuid>"),
    (re.compile(r"\b[0-9A-F]{24}\b"), "<segment>"),
    (re.compile(r"dr_recv_\w+"), "dr_recv_<id>"),
    (re.compile(r"\b\d{5,}\b"), "<number>"),
    (re.compile(r"\.\d+\.tmp\b"), ".<pid>.tmp"),
)


def masked(text: str) -> str:
    """Return a label without what differs from run to run."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


@dataclass(frozen=True)
class Effect:
    """One numbered change of the outside world: what, in which step, and how often before."""

    number: int
    step: str
    client: str
    label: str
    nth: int
    pid: int

    @property
    def kind(self) -> str:
        """The sort of change, whatever it is applied to and in whichever step."""
        words = self.label.split(" ")
        if self.client == "docker" and words[0] == "POST":
            return f"docker {words[1].rsplit('/', 1)[-1]}"
        if self.client == "sql" and words[0].upper() == "SELECT":
            return f"sql {words[1].split('(')[0]}"
        return f"{self.client} {words[0]}"

    @property
    def place(self) -> tuple[str, str, str, int]:
        """By what an effect is known again in another run."""
        return self.step, self.client, self.label, self.nth

    def __str__(self) -> str:
        """Name the effect as a person would look for it."""
        return f"{self.number}: {self.step} {self.client} {self.label} (#{self.nth})"


@dataclass(frozen=True)
class Plan:
    """Strike once, at the ``nth`` effect that a step has with this client and label.

    ``victims`` are the processes that a ``kill`` or ``stop`` befalls.
    """

    step: str
    client: str
    label: str
    nth: int
    side: Side
    act: Act
    victims: tuple[Victim, ...] = ("worker",)
    seconds: float = 0.0

    @classmethod
    def at(cls, effect: Effect, side: Side, act: Act, victims: tuple[Victim, ...] = ("worker",)) -> Self:
        """Strike at an effect that an undisturbed run had."""
        return cls(effect.step, effect.client, effect.label, effect.nth, side, act, victims)

    def strikes(self, effect: Effect, side: Side) -> bool:
        """Tell whether this is the place."""
        return (*effect.place, side) == (self.step, self.client, self.label, self.nth, self.side)


class Folder:
    """The directory that a worker under test and its test share."""

    def __init__(self, path: Path) -> None:
        """Keep plan, effects and mark under ``path``."""
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @property
    def effects_file(self) -> Path:
        """One JSON object a line, in the order of the effects."""
        return self.path / "effects.jsonl"

    @property
    def _plans_file(self) -> Path:
        return self.path / "plans.json"

    def _mark(self, number: int) -> Path:
        return self.path / f"fired.{number}"

    def arm(self, *plans: Plan) -> None:
        """Forget the last run, and set the faults of the next one."""
        for path in (self._plans_file, self.effects_file, *self.path.glob("fired.*")):
            path.unlink(missing_ok=True)
        draft = self._plans_file.with_suffix(".new")
        draft.write_text(json.dumps([asdict(plan) for plan in plans]))
        draft.replace(self._plans_file)

    def forget(self, step: str) -> None:
        """Have the hand of a step do its work anew on each attempt; an empty text ends that."""
        (self.path / "forgetful").write_text(step)

    def forgetful(self) -> str:
        """Return the step that was made forgetful."""
        path = self.path / "forgetful"
        return path.read_text() if path.is_file() else ""

    def widen(self, *, on: bool) -> None:
        """Number names given and directories made by handle too: how backups are put on the shelf."""
        path = self.path / "wide"
        path.touch() if on else path.unlink(missing_ok=True)

    @property
    def wide(self) -> bool:
        """Tell whether those are numbered."""
        return (self.path / "wide").exists()

    def disarm(self) -> None:
        """Number nothing more, until faults are set again."""
        self._plans_file.unlink(missing_ok=True)

    @property
    def armed(self) -> bool:
        """Tell whether effects are numbered."""
        return self._plans_file.exists()

    def plans(self) -> list[Plan]:
        """Return the faults that were set."""
        if not self._plans_file.is_file():
            return []
        found = json.loads(self._plans_file.read_text())
        return [Plan(**{**values, "victims": tuple(values["victims"])}) for values in found]

    def unfired(self) -> list[Plan]:
        """Return the faults that have not fired."""
        return [plan for number, plan in enumerate(self.plans()) if not self._mark(number).exists()]

    def fired(self) -> list[str]:
        """Return where faults have fired, in the order of their plans."""
        marks = (self._mark(number) for number in range(len(self.plans())))
        return [mark.read_text() for mark in marks if mark.exists()]

    def fire(self, effect: Effect, side: Side) -> Plan | None:
        """Return the fault that strikes here for the first time; its mark is on disk before this returns."""
        for number, plan in enumerate(self.plans()):
            if not plan.strikes(effect, side):
                continue
            try:
                handle = os.open(self._mark(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            try:
                os.write(handle, f"{plan.act} {side} {effect}".encode())
                os.fsync(handle)
            finally:
                os.close(handle)
            return plan
        return None

    def victim(self, name: Victim) -> int:
        """Return the pid of a victim as the driver noted it; the worker is the process that asks."""
        return os.getpid() if name == "worker" else int((self.path / f"{name}.pid").read_text())

    def note_victim(self, name: Victim, pid: int) -> None:
        """Note the pid of a victim."""
        draft = self.path / f"{name}.pid.new"
        draft.write_text(str(pid))
        draft.replace(self.path / f"{name}.pid")

    def add(self, effect: Effect) -> None:
        """Append an effect; one write, so that a kill leaves whole lines."""
        handle = os.open(self.effects_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(handle, (json.dumps(asdict(effect)) + "\n").encode())
        finally:
            os.close(handle)

    def effects(self) -> list[Effect]:
        """Return the effects since the plan was set, in their order."""
        if not self.effects_file.is_file():
            return []
        lines = self.effects_file.read_text().splitlines()
        return [Effect(**json.loads(line)) for line in lines]
