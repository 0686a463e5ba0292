"""``make demo``: a real stack is damaged for real, and recovered while its worker is killed."""

import asyncio
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import docker
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from domain import names
from domain.approval import Message
from domain.backups import Backup
from domain.errors import DrError, Refused, Unavailable
from domain.incident import RecoveryRequest, RecoveryResult, StatusView
from domain.release import Released
from infra import daemons, up
from infra.demo_screen import Screen
from infra.lab.damage import damage_pages
from infra.lab.lab import Lab
from infra.lab.settings import LabSettings
from starter import orchestrator
from starter.look import draw_report
from worker.report_store import load_report
from worker.settings import REPOSITORY, Settings
from workflows.backup import BackupRequest
from workflows.release import ReleaseRequest

STACK = "lab"
FIRST_LIMIT_SECONDS = 8 * 60
AGAIN_LIMIT_SECONDS = 3 * 60
_MARKERS_BEFORE_DAMAGE_SECONDS = 6
_DECIDE_WITHIN = timedelta(minutes=10)


def main() -> int:
    """Run the whole demonstration; 0 when the recovery is proven."""
    began = float(os.environ.get("DR_STARTED_AT") or time.time())
    screen = Screen(began)
    try:
        return Demo(screen, began).run()
    except DrError as error:
        screen.failed(str(error))
        return 1


class Demo:
    """One run of the demonstration."""

    def __init__(self, screen: Screen, began: float) -> None:
        """``began`` is the Unix time at which ``make demo`` was typed."""
        self._screen = screen
        self._began = began
        self._settings = Settings()
        self._figures = self._settings.state / "demo.json"
        self._settings.state.mkdir(parents=True, exist_ok=True)

    def run(self) -> int:
        """Set up, protect, damage, recover, report."""
        screen, settings = self._screen, self._settings
        known = self._known()
        screen.chapter("Set up")
        endpoint = up.ensure_temporal(settings, screen.say)
        lab = Lab(LabSettings(state=settings.state))
        lab.up(screen.progress)
        up.ensure_worker(settings, screen.say, endpoint)
        up.ensure_ledgers(settings, screen.say)
        daemons.start(_users(lab.settings, up.run_directory(settings.state)))
        screen.say("users sign in, send, read, search and upload through the proxy")
        up.wait_for_pollers(settings)
        set_up = time.time() - self._began

        self._protect(known)
        self._let_users_work()
        screen.chapter("Damage")
        screen.say(damage_pages(settings))
        recovery_id = orchestrator.run(self._recover)
        return self._conclude(recovery_id, known, set_up)

    def _protect(self, known: dict[str, object]) -> None:
        self._screen.chapter("Protect")

        async def work(client: Client, settings: Settings) -> None:
            for recovery in known.get("recoveries") or []:  # type: ignore[attr-defined]
                released = await orchestrator.execute(
                    client, settings, "Release", ReleaseRequest(recovery_id=str(recovery)), Released
                )
                self._screen.say(f"of the demonstration before: {released.sentence}")
            handle = await orchestrator.start(
                client,
                settings,
                "BaseBackup",
                BackupRequest(stack=STACK, reason="demonstration"),
                f"backup/{STACK}/postgres/base",
                Backup,
            )
            backup = await self._screen.watch(client, handle, orchestrator.result_of(handle))
            self._screen.say(backup.sentence)

        orchestrator.run(work)
        known["recoveries"] = []

    def _let_users_work(self) -> None:
        for left in range(_MARKERS_BEFORE_DAMAGE_SECONDS, 0, -1):
            done = 1 - left / _MARKERS_BEFORE_DAMAGE_SECONDS
            self._screen.progress("users write, the ledger marks every second", done)
            time.sleep(1)

    async def _recover(self, client: Client, settings: Settings) -> str:
        screen = self._screen
        screen.chapter("Recover")
        handle = await orchestrator.start(
            client,
            settings,
            "DatabaseCorruption",
            RecoveryRequest(stack=STACK, requested_by="demonstration", reason="pages were overwritten"),
            names.recovery_workflow_id(STACK),
            RecoveryResult,
        )
        screen.say(f"DatabaseCorruption runs: {self._link(client, handle)}")
        killer = asyncio.create_task(asyncio.to_thread(self._kill_worker_in_restore))
        view = await self._until_gate(client, handle)
        await killer
        screen.brief(view)
        await handle.signal("approve", Message(gate=view.gate, digest=view.digest, by="demo operator"))
        screen.say("approved by signal")
        result = await screen.watch(client, handle, orchestrator.result_of(handle))
        return result.recovery_id

    def _kill_worker_in_restore(self) -> None:
        """Wait for the restore's container to run, then kill -9 the worker; it is started again."""
        engine = docker.from_env()
        wanted = {"label": [f"{names.LABEL_ROLE}=restore", f"{names.LABEL_STACK}={STACK}"]}
        deadline = time.monotonic() + _DECIDE_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            running = engine.api.containers(filters=wanted)
            if running:
                pid = up.worker_pid(self._settings)
                os.kill(pid, signal.SIGKILL)
                name = running[0]["Names"][0].lstrip("/")
                self._screen.event(f"kill -9 of the worker (pid {pid}) while {name} runs")
                return
            time.sleep(0.02)
        raise Unavailable("the restore's container was never seen running", code="demo-no-restore")

    async def _until_gate(self, client: Client, handle: WorkflowHandle[object, RecoveryResult]) -> StatusView:
        while True:
            try:
                view = await orchestrator.look(client, handle.id)
            except (Unavailable, RPCError):
                view = None  # the worker is away: that is the point
            if view is not None:
                self._screen.news(view)
                if view.state == "gate":
                    return view
                if view.state in {"needs_human", "ended"}:
                    raise Refused(f"the run is {view.state}: {view.parked_reason}", code="demo-stopped")
            await self._screen.pulse(client, handle)

    def _link(self, client: Client, handle: WorkflowHandle[object, RecoveryResult]) -> str:
        return orchestrator.link(self._settings, client.namespace, handle.id, handle.result_run_id or "")

    def _known(self) -> dict[str, object]:
        try:
            found: dict[str, object] = json.loads(self._figures.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def _conclude(self, recovery_id: str, known: dict[str, object], set_up: float) -> int:
        report = load_report(self._settings.state, None)
        if report is None or report.recovery_id != recovery_id:
            raise Unavailable("the report of this run is missing", code="report-missing")
        draw_report(self._screen.console, report)
        took = time.time() - self._began
        first = "first_seconds" not in known
        known["first_seconds" if first else "again_seconds"] = round(took, 1)
        known["recoveries"] = [recovery_id] if report.kept_aside else []
        self._figures.write_text(json.dumps(known))
        self._screen.figures(known, set_up, (FIRST_LIMIT_SECONDS, AGAIN_LIMIT_SECONDS))
        self._screen.say(f"report: {_page(self._settings.state, report.stack, recovery_id)}")
        self._screen.say(f"Web UI, stays up: {report.link}")
        self._screen.say("'make down' removes everything that was made here")
        survived = [one.kind for one in report.interruptions_survived]
        proven = report.outcome == "recovered" and bool(survived)
        if not survived:
            self._screen.failed("no interruption was survived, so the kill proved nothing")
        return 0 if proven else 1


def _users(lab: LabSettings, run_directory: Path) -> daemons.Daemon:
    """Return the load generator as a daemon."""
    return daemons.Daemon(
        name="traffic",
        argv=(
            sys.executable,
            "-m",
            "infra.lab.traffic",
            "--lab-state",
            str(lab.state.resolve()),
            "--project",
            lab.project,
        ),
        run_directory=run_directory,
        cwd=REPOSITORY,
    )


def _page(state: Path, stack: str, recovery_id: str) -> Path:
    return state / "reports" / stack / recovery_id / "report.html"


if __name__ == "__main__":
    sys.exit(main())
