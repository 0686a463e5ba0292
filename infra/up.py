"""Start what is missing of the orchestrator: Temporal, its namespace, the worker, the ledger."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from domain.errors import DrError, Unavailable
from domain.stack_file import parse_stack
from infra import daemons
from infra.temporal import bootstrap, server
from worker.connection import configured, connect
from worker.settings import REPOSITORY, Settings

Say = Callable[[str], None]

WORKER = "worker"
LEDGER = "ledger"
_WORKER_WITHIN_SECONDS = 40.0


def run_directory(state: Path) -> Path:
    """Return where the records of our daemons lie."""
    return state / "run"


def ensure_temporal(settings: Settings, say: Say) -> server.Endpoint | None:
    """Start the embedded server and make its namespace ready; another server is used when one is named."""
    config = configured()
    if "target_host" in config:
        say(f"Temporal: {config['target_host']}, as the settings name it; none is started")
        for note in asyncio.run(_use_named(settings)):
            say(note)
        if "ui_address" not in settings.model_fields_set:
            say(f"DR_UI_ADDRESS is not set: links point to {settings.ui_address}")
        return None
    namespace = config.get("namespace") or "default"
    endpoint = server.ensure_running(
        server.TemporalSettings(state=settings.state, port=settings.temporal_port, namespace=namespace)
    ).model_copy(update={"namespace": namespace})
    asyncio.run(_bootstrap(endpoint.address, namespace))
    say(f"Temporal {endpoint.version}: {endpoint.address}, Web UI {endpoint.ui}")
    return endpoint


async def _bootstrap(address: str, namespace: str) -> None:
    client = await Client.connect(address, namespace=namespace)
    await bootstrap.ensure_namespace(client)


async def _use_named(settings: Settings) -> tuple[str, ...]:
    client = await connect("dr", settings.state)
    return await bootstrap.ensure_usable(client)


def ensure_worker(
    settings: Settings,
    say: Say,
    endpoint: server.Endpoint | None,
    *,
    environment: dict[str, str] | None = None,
) -> daemons.Recorded:
    """Start the worker as a supervised process of its own and wait until it polls."""
    found = daemons.start(worker_daemon(settings, endpoint, environment or {}))
    say(f"worker: pid {found.pid}, log {run_directory(settings.state) / 'worker.log'}")
    return found


def worker_pid(settings: Settings) -> int:
    """Return the pid of the worker itself, not of its supervisor; ``Unavailable`` when none runs."""
    found = daemons.supervised(run_directory(settings.state), WORKER)
    if found is None:
        raise Unavailable("no worker runs", hint="dr up", code="worker-missing")
    return found.pid


def worker_daemon(
    settings: Settings, endpoint: server.Endpoint | None, environment: dict[str, str]
) -> daemons.Daemon:
    """Return the worker as a daemon."""
    return daemons.Daemon(
        name=WORKER,
        argv=(sys.executable, "-m", "worker"),
        run_directory=run_directory(settings.state),
        cwd=REPOSITORY,
        env={"DR_STATE": str(settings.state), **_found_by(endpoint), **environment},
        supervised=True,
    )


def ledger_of(stack: str) -> str:
    """Return the name of the daemon that writes the ledger of a stack."""
    return f"{LEDGER}-{stack}"


def ensure_ledgers(settings: Settings, say: Say, *, environment: dict[str, str] | None = None) -> None:
    """Start ledger and prober of every stack, each supervised: a killed worker does not stop them.

    One whose stack has no file any more ends; without a stack file none runs.
    """
    stacks, directory = settings.stacks(), run_directory(settings.state)
    wanted = {ledger_of(stack) for stack in stacks}
    for name in daemons.names(directory):
        if name.startswith(LEDGER) and name not in wanted:
            daemons.stop(directory, name)
    if not stacks:
        say("ledger: waits for the file of a stack; 'dr init --project NAME' writes one")
    for stack, file in stacks.items():
        try:
            parse_stack(file.read_text(encoding="utf-8"), str(file))
        except (DrError, OSError) as error:
            say(f"ledger of {stack} is not started: {error}")
            continue
        found = daemons.start(
            daemons.Daemon(
                name=ledger_of(stack),
                argv=(sys.executable, "-m", "worker.ledger", "--stack", stack),
                run_directory=directory,
                cwd=REPOSITORY,
                env={"DR_STATE": str(settings.state), **(environment or {})},
                supervised=True,
            )
        )
        say(f"ledger of {stack}: pid {found.pid}")


def wait_for_pollers(settings: Settings) -> None:
    """Wait until the worker polls both queues; raise ``Unavailable`` with the place of its log."""
    from starter import orchestrator  # noqa: PLC0415 - the operator's side knows how to ask

    deadline = time.monotonic() + _WORKER_WITHIN_SECONDS
    while True:
        try:
            orchestrator.run(_nothing)
        except (Unavailable, RPCError):
            if time.monotonic() > deadline:
                raise Unavailable(
                    "the worker does not poll",
                    where=str(run_directory(settings.state) / "worker.log"),
                    hint="its log says why",
                    code="worker-missing",
                ) from None
            time.sleep(0.2)
        else:
            return


async def _nothing(_client: Client, _settings: Settings) -> None:
    """Ask for nothing: that a connection and pollers are there is the answer."""


def ensure_schedules(settings: Settings, say: Say) -> None:
    """Have the schedules of every stack as its file says; what cannot be had is said and stops nothing."""
    from starter import orchestrator  # noqa: PLC0415 - the operator's side knows how to ask
    from starter.agenda import Agenda  # noqa: PLC0415 - the same
    from starter.schedules import stack_named  # noqa: PLC0415 - the same

    async def apply(client: Client, _: Settings) -> None:
        lines = await Agenda(client, stack_named(settings, name), settings.control_queue).apply()
        changed = [f"{line.job or line.id} {line.did}" for line in lines if line.did != "unchanged"]
        say(f"schedules of {name}: {len(lines)} there; {', '.join(changed) or 'nothing to change'}")

    for name in settings.stacks():
        try:
            orchestrator.run(apply, worker_needed=False)
        except DrError as error:
            say(f"schedules of {name} are not applied: {error}")


def _found_by(endpoint: server.Endpoint | None) -> dict[str, str]:
    return endpoint.environment() | {"DR_UI_ADDRESS": endpoint.ui} if endpoint else {}


def ensure_up(say: Say, *, lab: bool = False) -> dict[str, str]:
    """Start everything that is missing; return where to look."""
    settings = Settings()
    settings.state.mkdir(parents=True, exist_ok=True)
    if lab:
        from infra.lab.lab import Lab  # noqa: PLC0415 - only where there is a lab
        from infra.lab.settings import LabSettings  # noqa: PLC0415 - the same

        Lab(LabSettings(state=settings.state)).up(lambda line, _fraction: say(line))
    endpoint = ensure_temporal(settings, say)
    ensure_worker(settings, say, endpoint)
    wait_for_pollers(settings)
    ensure_ledgers(settings, say)
    ensure_schedules(settings, say)
    return {"ui": endpoint.ui if endpoint else settings.ui_address, "state": str(settings.state)}
