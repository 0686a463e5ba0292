"""``python -m bench.answering``: the worker's own program with hands that only answer.

What is left is orchestration. A plan in the state directory makes one hand do more: die with its process,
wait for a word, or watch a detached container as the product's long hands do.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from temporalio import activity
from temporalio.client import Client

import worker.__main__ as program
from activities.engine import Engine, Job
from activities.pulse import beat
from bench.bare_loop import ACTIVITY, BareLoop
from domain import names
from domain.order import Order, Outcome, Value
from tests.runbooks.conftest import Hands
from worker import wiring
from worker.backup_metrics import BackupMetrics
from worker.settings import Settings
from worker.workflows import WORKFLOWS

_EVERY_SECONDS = 0.005
_JOB_SECONDS = 600


class Plan(Value):
    """What the next call of one hand does besides answering."""

    step: str
    """Name of the hand."""
    act: Literal["die", "wait", "watch"]
    after_seconds: float = 0
    """How long after the call the process dies; the answer goes out at once."""
    image: str = ""
    """Image of the container that is watched."""


class Slate:
    """The files by which the measurement and the hands speak: one plan, and moments in Unix time."""

    def __init__(self, state: Path) -> None:
        """Use the files below ``state``."""
        self._plan = state / "plan.json"
        self._moments = state / "moments"
        self._moments.mkdir(parents=True, exist_ok=True)

    def lay(self, plan: Plan) -> None:
        """Lay down a plan, and forget all moments."""
        for path in self._moments.iterdir():
            path.unlink()
        fresh = self._plan.with_suffix(".new")
        fresh.write_text(plan.model_dump_json(), encoding="utf-8")
        fresh.replace(self._plan)

    def take(self, step: str, *, keep: bool = False) -> Plan | None:
        """Return the plan when it is about this step; it is gone then, unless it is kept."""
        try:
            plan = Plan.model_validate_json(self._plan.read_bytes())
        except FileNotFoundError:
            return None
        if plan.step != step:
            return None
        if not keep and plan.act == "die":
            self.clear()
        return plan

    def clear(self) -> None:
        """Take the plan away."""
        self._plan.unlink(missing_ok=True)

    def note(self, what: str) -> None:
        """Note that something happened now."""
        fresh = self._moments / f".{what}"
        fresh.write_text(json.dumps(time.time()), encoding="utf-8")
        fresh.replace(self._moments / what)

    def moment(self, what: str) -> float | None:
        """Return when something happened, or ``None`` while it did not."""
        try:
            return float(json.loads((self._moments / what).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


class Answering:
    """Takes the place of the product's hands; reports and notices are the real ones."""

    def __init__(self, settings: Settings, client: Client, engine: Engine | None = None) -> None:
        """Build what the worker's program asks for."""
        # Built as always, so that a start of the process takes as long as always.
        self._real = wiring.Hands(settings, client, engine)
        self._answers = Hands(settings.state, client).answers
        self._slate = Slate(settings.state)
        self._engine = engine

    def control(self) -> list[Callable[..., Any]]:
        """Return the real hands of the control queue."""
        return self._real.control()

    def backup_metrics(self) -> BackupMetrics:
        """Return the real reader of the ages of backups."""
        return self._real.backup_metrics()

    def host(self) -> list[Callable[..., Any]]:
        """Return the hands that answer."""
        hands = [self._hand(name, order, answer) for name, (order, answer) in self._answers.items()]
        return [*hands, self._hand(ACTIVITY, Order, lambda _: Outcome())]

    def _hand(self, name: str, order: type[Order], answer: Callable[[Any], Outcome]) -> Callable[..., Any]:
        def hand(given: Any) -> Any:  # noqa: ANN401 - each hand has an order and an outcome of its own
            plan = self._slate.take(name)
            if plan is not None:
                self._follow(plan, str(given.recovery_id))
            return answer(given)

        hand.__annotations__ = {"given": order, "return": Any}
        return activity.defn(name=name, no_thread_cancel_exception=True)(hand)

    def _follow(self, plan: Plan, recovery_id: str) -> None:
        if plan.act == "die":
            threading.Thread(target=self._die, args=(plan.after_seconds,), daemon=True).start()
        elif plan.act == "wait":
            self._slate.note("waiting")
            while self._slate.moment("go") is None:
                time.sleep(_EVERY_SECONDS)
        else:
            self._watch(plan, recovery_id)

    def _die(self, after_seconds: float) -> None:
        time.sleep(after_seconds)
        self._slate.note("died")
        os.kill(os.getpid(), signal.SIGKILL)

    def _watch(self, plan: Plan, recovery_id: str) -> None:
        """Follow a container until this is the second process that does so."""
        engine = self._engine = self._engine or Engine(wiring.docker_client())
        job = Job(
            name=f"dr-{recovery_id}-watched",
            image_id=plan.image,
            entrypoint=("sleep",),
            command=(str(_JOB_SECONDS),),
            labels={names.LABEL_ROLE: "bench"},
        )
        _, known = engine.ensure_job(job)
        if known:
            self._slate.note("reattached")
            self._slate.clear()
            engine.remove(job.name, force=True)
            return
        self._slate.note("watching")
        while True:
            beat(engine.logs(job.name, tail=1).strip())
            time.sleep(0.25)


def main() -> int:
    """Run the worker's program."""
    with (
        mock.patch.object(program, "Hands", Answering),
        mock.patch.object(program, "WORKFLOWS", [*WORKFLOWS, BareLoop]),
    ):
        return program.main()


if __name__ == "__main__":
    ended = main()
    sys.stderr.flush()
    os._exit(ended)
