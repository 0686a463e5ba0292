"""The embedded Temporal server of one state directory.

``temporal`` is looked up on PATH, then beside the running Python, so that an official build replaces the
packaged one. The server listens on loopback alone: it has neither TLS nor an authoriser. Another server needs
settings only (``TEMPORAL_ADDRESS``); then nothing here is used.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from domain.errors import Refused, Unavailable
from infra import daemons

LOOPBACK = "127.0.0.1"
DAEMON = "temporal"
LOG_LINES_SHOWN = 8

# The defaults cost up to a second for each short timer and ten seconds for a killed worker.
DYNAMIC_CONFIG: tuple[tuple[str, object], ...] = (
    ("history.transferProcessorMaxPollRPS", 500),
    ("history.timerProcessorMaxPollRPS", 500),
    ("history.visibilityProcessorMaxPollRPS", 500),
    ("history.timerProcessorMaxTimeShift", "100ms"),
    ("history.defaultWorkflowTaskTimeout", "3s"),
    # A run paused by the server has a status that this SDK cannot read; holding is ours.
    ("frontend.WorkflowPauseEnabled", False),
    ("system.forceSearchAttributesCacheRefreshOnRead", True),
)


class TemporalSettings(BaseModel):
    """Where the server keeps its state and listens. Ports that are not given follow from ``port``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Path
    port: int = 7233
    ui_port: int | None = None
    metrics_port: int | None = None
    namespace: str = "default"
    time_skipping: bool = False
    startup_timeout_seconds: float = 30.0

    @property
    def home(self) -> Path:
        """Return the directory with the database, the log and the records."""
        return self.state / "temporal"

    @property
    def database(self) -> Path:
        """Return the database file."""
        return self.home / "temporal.db"

    @property
    def ui(self) -> int:
        """Return the port of the Web UI."""
        return self.ui_port or self.port + 1000

    @property
    def metrics(self) -> int:
        """Return the port of the server's own metrics."""
        return self.metrics_port or self.port + 2000


class Endpoint(BaseModel):
    """A server that answers: ``address`` is host:port of gRPC, ``ui`` and ``metrics`` are URLs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    ui: str
    metrics: str
    namespace: str
    program: str
    version: str
    pid: int

    def environment(self) -> dict[str, str]:
        """Return the variables by which every client of ours finds this server."""
        return {"TEMPORAL_ADDRESS": self.address, "TEMPORAL_NAMESPACE": self.namespace}


def ensure_running(settings: TemporalSettings) -> Endpoint:
    """Return the server of this state directory, started when it does not run, once it answers.

    A server that runs already keeps its ports. Raises ``Refused`` when there is no ``temporal``, when its
    version is not the one that made the database file, or when a port is taken; ``Unavailable`` when it does
    not come up in time.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "starting.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        endpoint = status(settings)
        if endpoint is None or not _comes_up(settings, endpoint):
            endpoint = _start(settings)
            if not _comes_up(settings, endpoint):
                raise _not_up(settings, "the Temporal server ended while it was starting")
    return endpoint


def _start(settings: TemporalSettings) -> Endpoint:
    # A server whose endpoint was never written (its starter was killed) cannot be found by anybody.
    daemons.stop(settings.home, DAEMON)
    program = find_program()
    version = program_version(program)
    _refuse_other_version(settings, version)
    for port in (settings.port, settings.ui, settings.metrics):
        _refuse_taken_port(port)
    argv = _argv(settings, program)
    record = daemons.start(
        daemons.Daemon(name=DAEMON, argv=argv, run_directory=settings.home, cwd=settings.home)
    )
    endpoint = Endpoint(
        address=f"{LOOPBACK}:{settings.port}",
        ui=f"http://{LOOPBACK}:{settings.ui}",
        metrics=f"http://{LOOPBACK}:{settings.metrics}/metrics",
        namespace=settings.namespace,
        program=program,
        version=version,
        pid=record.pid,
    )
    _endpoint_file(settings).write_text(endpoint.model_dump_json(), encoding="utf-8")
    return endpoint


def status(settings: TemporalSettings) -> Endpoint | None:
    """Return the endpoint of the server of this state directory; None when it does not run."""
    record = daemons.recorded(settings.home, DAEMON)
    if record is None:
        return None
    try:
        endpoint = Endpoint.model_validate_json(_endpoint_file(settings).read_bytes())
    except FileNotFoundError:
        return None
    return endpoint if endpoint.pid == record.pid else None


def stop(settings: TemporalSettings) -> bool:
    """End the server of this state directory and no other; return whether one ran. Its file stays."""
    return daemons.stop(settings.home, DAEMON)


def find_program() -> str:
    """Return the path of ``temporal``. Raises ``Refused`` (``temporal-missing``)."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")))
    found = shutil.which("temporal", path=path)
    if found is None:
        raise Refused(
            "there is no temporal program",
            where="PATH and the virtual environment",
            hint="run make setup, install the Temporal CLI, or set TEMPORAL_ADDRESS to a server that runs",
            code="temporal-missing",
        )
    return found


def program_version(program: str) -> str:
    """Return the version of a ``temporal`` program, for example ``1.9.1``."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    match = re.search(r"\d+\.\d+\.\d+\S*", answer.stdout)
    if answer.returncode != 0 or match is None:
        raise Refused(
            "the temporal program does not say its version",
            where=program,
            hint=f"run {program} --version and look at what it prints",
            code="temporal-unusable",
        )
    return match.group()


def database_version(settings: TemporalSettings) -> str | None:
    """Return the version of the program that made the database file; None when it is not recorded."""
    try:
        return _version_file(settings).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _version_file(settings: TemporalSettings) -> Path:
    return settings.home / "temporal.db.version"


def _endpoint_file(settings: TemporalSettings) -> Path:
    return settings.home / "endpoint"


def _refuse_other_version(settings: TemporalSettings, version: str) -> None:
    """Refuse a database of another version: the file has a schema, and nothing migrates it."""
    if not settings.database.exists():
        _version_file(settings).write_text(f"{version}\n", encoding="utf-8")
        return
    made_by = database_version(settings)
    if made_by == version:
        return
    raise Refused(
        f"the database file was made by temporal {made_by or '(not recorded)'}, this is {version}",
        where=str(settings.database),
        hint=(
            "put the old version on PATH until open runs have ended and their histories are exported, "
            "then move the file away"
        ),
        code="temporal-version-mismatch",
    )


def _refuse_taken_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server does it: a port that lingers after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise Refused(
                f"port {port} is taken by another program",
                where=LOOPBACK,
                hint="stop that program or choose another port for Temporal",
                code="port-taken",
            ) from error


def _argv(settings: TemporalSettings, program: str) -> tuple[str, ...]:
    argv = [program, "server", "start-dev", "--ip", LOOPBACK, "--ui-ip", LOOPBACK]
    argv += ["--port", str(settings.port), "--ui-port", str(settings.ui)]
    argv += ["--metrics-port", str(settings.metrics)]
    argv += ["--db-filename", str(settings.database.resolve())]
    # FULL: what the server acknowledged survives a loss of power.
    argv += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"]
    argv += ["--log-level", "warn", "--log-format", "json"]
    if settings.namespace != "default":
        argv += ["--namespace", settings.namespace]
    if _knows_flag(program, "--ui-disable-news-fetch"):
        argv.append("--ui-disable-news-fetch")
    skipping = ("frontend.WorkflowTimeSkippingEnabled", settings.time_skipping)
    for key, value in (*DYNAMIC_CONFIG, skipping):
        argv += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
    return tuple(argv)


def _knows_flag(program: str, flag: str) -> bool:
    """Return whether ``start-dev`` takes a flag; a build from PATH may be older than ours."""
    argv = [program, "server", "start-dev", "--help"]
    return flag in subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout


def _comes_up(settings: TemporalSettings, endpoint: Endpoint) -> bool:
    """Wait until the Web UI reads the namespace through the front end: then both of them serve.

    Return False when the server ends meanwhile; one that was found running may be dying.
    """
    deadline = time.monotonic() + settings.startup_timeout_seconds
    url = f"{endpoint.ui}/api/v1/namespaces/{endpoint.namespace}"
    while not _answers(url):
        if not daemons.is_running(settings.home, DAEMON):
            return False
        if time.monotonic() > deadline:
            raise _not_up(settings, f"no answer in {settings.startup_timeout_seconds:.0f} s")
        time.sleep(0.1)
    return True


def _answers(url: str) -> bool:
    # A proxy of the environment has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)  # noqa: PLR2004 - HTTP's OK
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _not_up(settings: TemporalSettings, what: str) -> Unavailable:
    log = settings.home / f"{DAEMON}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    last = " | ".join(lines[-LOG_LINES_SHOWN:])
    return Unavailable(what, where=str(log), hint=f"its last lines: {last}", code="temporal-not-up")
