"""One lab with an orchestrator of its own: real containers, a real Temporal server, worker and ledger.

The operator's side is the ``dr`` command itself, in a process of its own, as people run it.
"""

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import psycopg

from activities.containers import Containers
from activities.engine import Engine
from activities.faults import DamageOrder, Faults, Injected
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain import names
from domain.approval import Message
from domain.incident import StatusView
from domain.order import StackOrder, Target, TargetOrder
from infra import daemons
from infra.lab.lab import Lab
from infra.lab.protected import write_stack_file
from infra.lab.settings import LabSettings, free_ports
from infra.temporal import server
from starter import orchestrator
from tests.e2e.witness import Events
from worker.connection import connect

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 240.0
Answer = TypeVar("Answer")


def until(ask: Callable[[], Answer | None], what: str, pause: float = 0.25) -> Answer:
    """Return the first answer that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"it did not happen in time: {what}"
        time.sleep(pause)
    return answer


@dataclass(frozen=True)
class Said:
    """What one call of ``dr`` answered."""

    code: int
    out: str
    progress: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The JSON on standard output."""
        said: dict[str, Any] = json.loads(self.out)
        return said

    @property
    def data(self) -> Any:
        """The answer inside the envelope."""
        assert "data" in self.envelope, f"{self.out}\n{self.progress}"
        return self.envelope["data"]

    @property
    def error(self) -> dict[str, str]:
        """The refusal inside the envelope."""
        assert "error" in self.envelope, f"{self.out}\n{self.progress}"
        said: dict[str, str] = self.envelope["error"]
        return said


class Stand:
    """A protected lab and everything that recovers it; nothing of it is shared with another stand."""

    def __init__(self) -> None:
        """Choose names, ports and folders; nothing is started."""
        mark = secrets.token_hex(3)
        self.name = f"e2e-{mark}"
        # PostgreSQL's sockets lie below: a path of theirs has hardly more than a hundred characters.
        self.state = Path(tempfile.mkdtemp(prefix="dr-e2e-", dir="/tmp"))
        self.client = docker.from_env(timeout=600)
        self.engine = Engine(self.client)
        self.settings = LabSettings(
            project=f"dr-{self.name}",
            prefix=f"chat{mark}",
            ports=free_ports(),
            state=self.state,
            seed_scale="small",
            shared_cache=ROOT / ".dr" / "cache",
        )
        self.lab = Lab(self.settings, self.client)
        self.temporal = server.TemporalSettings(state=self.state, port=temporal_port())
        self.dirty = False
        self.settings_of_worker: dict[str, str] = {}
        self.events = Events(self.client, f"{names.LABEL_STACK}={self.name}")

    # -- its life ---------------------------------------------------------------------------------

    def up(self) -> None:
        """Start lab, Temporal, worker and ledger, and protect the database with two base backups."""
        self.stack_file = write_stack_file(self.settings, self.name)
        # The classic mistake: the prefix of the container names taken for the compose project.
        text = self.stack_file.read_text().replace(
            f"project: {self.settings.project}", f"project: {self.prefix}"
        )
        self.foreign = f"{self.name}-foreign"
        foreign_file = self.stack_file.with_name(f"{self.foreign}.yaml")
        foreign_file.write_text(text.replace(f"stack: {self.name}", f"stack: {self.foreign}"))
        self.lab.up()
        self.events.start()
        assert self.dr("up").code == 0
        self.take_backup()
        self.take_backup()

    def down(self) -> None:
        """Remove everything that was made: processes, containers, volumes, state."""
        run = self.state / "run"
        for name in daemons.names(run) if run.is_dir() else ():
            daemons.stop(run, name)
        server.stop(self.temporal)
        self.events.stop()
        mine: dict[str, str | list[str] | bool] = {"label": f"{names.LABEL_STACK}={self.name}"}
        for container in self.client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list(filters=mine):
            volume.remove(force=True)
        self.lab.down()
        self.client.close()
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def prefix(self) -> str:
        """The beginning of the names of the lab's containers."""
        return self.settings.prefix

    # -- the operator -----------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of this stand."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
        return kept | {
            "DR_STATE": str(self.state),
            "DR_TEMPORAL_PORT": str(self.temporal.port),
            "DR_METRICS_BIND": f"127.0.0.1:{self.temporal.metrics + 1}",
            "DR_DEFAULT_STACK": self.name,
            **self.settings_of_worker,
        }

    def restart_worker(self, **settings: str) -> None:
        """Have the worker run with other settings; without any, with those of the stand."""
        self.settings_of_worker = settings
        daemons.stop(self.state / "run", "worker")
        assert self.dr("up").code == 0

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Start a ``dr`` that goes on by itself."""
        return subprocess.Popen(
            [sys.executable, "-c", "from starter.cli import main; main()", *words],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: "subprocess.Popen[str]") -> Said:
        """Wait for the end of a ``dr``."""
        out, progress = process.communicate(timeout=PATIENCE_SECONDS)
        return Said(process.returncode, out, progress)

    def dr(self, *words: str) -> Said:
        """Run ``dr`` to its end; its answer is JSON."""
        return self.finish(self.begin(*words, "--json"))

    def recover(self) -> str:
        """Start a recovery and return its run id; it goes on by itself."""
        return self.begun(self.begin_recovery())

    def begin_recovery(self) -> "subprocess.Popen[str]":
        """Start the command that starts a recovery."""
        words = ("recover", "corruption", "--no-plan", "--yes-stack", self.name, "--by", "asker")
        return self.begin(*words, "--detach", "--json")

    def begun(self, starting: "subprocess.Popen[str]") -> str:
        """Return the run id of the recovery that was started."""
        said = self.finish(starting)
        assert said.code == 0, said
        return str(said.data["run_id"])

    def look(self) -> StatusView | None:
        """Return the state of the newest recovery, or ``None`` while it cannot be asked."""

        async def asked() -> StatusView | None:
            client = await connect("test", self.state)
            return await orchestrator.look(client, names.recovery_workflow_id(self.name))

        try:
            return asyncio.run(asked())
        except Exception:  # noqa: BLE001 - a worker or server that was killed does not answer
            return None

    def wait(self, state: str) -> StatusView:
        """Wait until the recovery is in a state; one that parks instead fails the test with its reason."""

        def reached() -> StatusView | None:
            view = self.look()
            if view is None or view.state == state:
                return view
            parked = view.state == "needs_human"
            assert not parked, f"parked at {view.parked_step}: {view.parked_reason}\n" + "\n".join(view.lines)
            assert view.state != "ended", "\n".join(view.lines)
            return None

        return until(reached, f"state {state}")

    def approve(self) -> Said:
        """Approve the open gate as a person does, with the stated loss typed back."""
        loss = self.wait("gate").maximum_loss_seconds
        words = ("--accept-loss", str(loss)) if loss else ()
        return self.dr("approve", "swap", "--by", "approver", *words)

    def signal_approval(self, view: StatusView, message_id: str) -> None:
        """Approve by the signal that the Web UI sends."""

        async def sent() -> None:
            client = await connect("test", self.state)
            handle = client.get_workflow_handle(names.recovery_workflow_id(self.name))
            said = Message(gate=view.gate, by="approver", digest=view.digest, id=message_id)
            await handle.signal("approve", said)

        asyncio.run(sent())

    def to_the_end(self, run_id: str) -> dict[str, Any]:
        """Approve whatever gate opens until the run ends; return its report."""
        approved = ""
        while True:
            view = until(self.look, "an answer of the run")
            if view.state == "gate" and view.digest != approved:
                approved = view.digest
                said = self.approve()
                assert said.code == 0, said
            if view.state == "ended":
                break
            parked = view.state == "needs_human"
            assert not parked, f"parked at {view.parked_step}: {view.parked_reason}\n" + "\n".join(view.lines)
            time.sleep(0.5)
        report = self.report(run_id)
        # A run that stood down has damaged nothing either.
        self.dirty = self.dirty and report["outcome"] != "recovered"
        return report

    def report(self, run_id: str) -> dict[str, Any]:
        """Return the report of a run by the fixed interface."""
        said = self.dr("report", run_id)
        assert said.code == 0, said
        assert said.envelope["schema_version"] == 1
        assert said.envelope["command"] == "report"
        report: dict[str, Any] = said.data
        return report

    def take_backup(self) -> dict[str, Any]:
        """Take a base backup and return its row."""
        said = self.dr("backup", "now")
        assert said.code == 0, said
        row: dict[str, Any] = said.data
        return row

    def backups(self) -> list[dict[str, Any]]:
        """Return the rows of the catalogue, newest first."""
        rows: list[dict[str, Any]] = self.dr("backup", "list").data
        return rows

    # -- the disaster -----------------------------------------------------------------------------

    def target(self) -> Target:
        """Resolve the stack as the worker does."""
        containers = Containers(self.engine, {self.name: self.stack_file}, self.name, self.state)
        return containers.observe_stack(StackOrder()).target

    def damage_pages(self) -> Injected:
        """Overwrite pages under the living server."""
        self.dirty = True
        return self._faults().inject_damaged_pages(DamageOrder(target=self.target()))

    def destroy_control_file(self) -> Injected:
        """Kill the server and destroy its control file."""
        self.dirty = True
        return self._faults().inject_control_file_destroyed(TargetOrder(target=self.target()))

    def _faults(self) -> Faults:
        return Faults(self.engine, Sql(Secrets(self.engine, self.environment)))

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL on the live database."""
        with psycopg.connect(self.lab.dsn(), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def relation_of(self, backup: dict[str, Any]) -> Path:
        """Return the file of the messages' table in a backup on the shelf."""
        path = self.sql("SELECT pg_relation_filepath('nchat_messages')")[0][0]
        here = Path(self.target().shelf) / str(backup["path"]) / str(path)
        # A table that was rewritten since has another file; any large one will do.
        return here if here.is_file() else max(here.parent.iterdir(), key=lambda file: file.stat().st_size)

    # -- its processes ----------------------------------------------------------------------------

    def worker(self) -> int:
        """Return the pid of the worker itself, below its supervisor; 0 while there is none."""
        found = daemons.recorded(self.state / "run", "worker.child")
        return found.pid if found else 0

    def kill_worker(self) -> int:
        """Kill the worker with SIGKILL and return the pid that it had."""
        pid = self.worker()
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_temporal(self) -> None:
        """Kill the Temporal server with SIGKILL."""
        endpoint = server.status(self.temporal)
        assert endpoint is not None
        os.kill(endpoint.pid, signal.SIGKILL)
        until(lambda: server.status(self.temporal) is None, "the server is gone")

    def end_open_run(self) -> None:
        """End what a test left open."""
        view = self.look()
        if view is not None and view.state != "ended":
            self.dr("abort", "--stack", self.name, "--by", "test", "--reason", "the test is over")
            until(lambda: (v := self.look()) is not None and v.state == "ended", "the end of the open run")


def temporal_port() -> int:
    """Return a port that is free together with those of the Web UI and the metrics, and one above."""
    for _ in range(200):
        port = random.randrange(20000, 29000)
        if all(_is_free(wanted) for wanted in (port, port + 1000, port + 2000, port + 2001)):
            return port
    raise AssertionError("no ports are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
