"""The stage: a small server of the stack's image, on a volume and a network of its own, thrown away after.

To the hands it is a stack like any other. No stack file can hold its name, so that what carries it is its.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from activities import plain_files
from activities.engine import Engine, Job
from activities.postgres.one_shot import VOLUME, as_root, run, shell
from activities.postgres.sql import Sql
from activities.pulse import beat
from activities.selftest.network import Networks
from domain.errors import Unavailable
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE, LABEL_ROLE, LABEL_STACK
from domain.order import PostgresTarget, ServiceTarget, Target
from domain.recovery import Copy
from domain.stack import Kind

ROLE = "selftest"
SPECIMEN = "specimen"
"""The database that is damaged; its content is in ``specimen.sql``."""
SOCKET = "/sock"
_DATA = f"{VOLUME}/data"
_USER = "postgres"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_OWNER = f'mkdir {_DATA} && chmod 0700 {_DATA} && chown "$1" {_DATA}'
_INITDB = (
    f"initdb -D {_DATA} --username={_USER} --auth=trust --encoding=UTF8 --locale=C --wal-segsize=1 --no-sync"
    f' >/dev/null && echo "host all all samenet trust" >>{_DATA}/pg_hba.conf'
)
_SETTINGS = {
    "listen_addresses": "*",
    "port": "5432",
    "unix_socket_directories": SOCKET,
    "archive_mode": "off",
    "wal_level": "replica",
    "max_wal_size": "64MB",
    "min_wal_size": "4MB",
    "shared_buffers": "32MB",
    "fsync": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "lc_messages": "C",
}


class Stage:
    """One stage; it is named for its stack, so that what a dead attempt left of it is found."""

    def __init__(self, engine: Engine, networks: Networks, sql: Sql, state: Path, real: Target) -> None:
        """``state`` is DR_STATE, ``real`` the stack whose image is used."""
        self.engine = engine
        self.sql = sql
        self.real = real
        self.stack = f"{real.stack}.selftest"
        self.name = f"dr-{self.stack}"
        short = hashlib.sha256(real.stack.encode()).hexdigest()[:4]
        self.state = state.resolve() / "selftest" / short
        self.shelf = self.state / "shelf"
        self.sockets = self.state / "s"
        self.labels = {
            LABEL_STACK: self.stack,
            LABEL_ROLE: ROLE,
            COMPOSE_PROJECT: self.name,
            COMPOSE_SERVICE: "postgres",
        }
        self._networks = networks

    @contextmanager
    def open(self, *, server: bool = True) -> Iterator["Stage"]:
        """Set it up, with a server or with its network and directory alone; remove all of it afterwards."""
        self.remove()
        try:
            self.state.mkdir(parents=True, mode=0o700)
            self._networks.ensure_internal(self.name, {LABEL_STACK: self.stack})
            if server:
                self._make()
                self.start(self.name)
                self._fill()
            yield self
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove all that carries its name; nothing there is fine."""
        for found in self.engine.labelled(f"{LABEL_STACK}={self.stack}"):
            self.engine.remove(found.id, force=True)
        for volume in self.engine.volumes(f"{LABEL_STACK}={self.stack}"):
            self.engine.remove_volume(str(volume["Name"]))
        self._networks.remove_all({LABEL_STACK: self.stack})
        if self.state.is_dir() and not self.state.is_symlink():
            shutil.rmtree(self.state)

    def target(self) -> Target:
        """Return the stage as the hands take a stack."""
        found = self.engine.look(self.name)
        if found is None:
            raise Unavailable("the server of the self-test is gone", where=self.name, code="selftest-server")
        real = self.real.postgres
        server = PostgresTarget(
            service="postgres",
            container_id=found.id,
            container_name=self.name,
            image_id=real.image_id,
            volume=self.name,
            mount_path=VOLUME,
            pgdata=_DATA,
            uid=real.uid,
            gid=real.gid,
            network=self.name,
            user=_USER,
            database=SPECIMEN,
            arguments=self.job(self.name).command,
            volumes_root=real.volumes_root,
        )
        service = ServiceTarget(
            name="postgres",
            kind=Kind.POSTGRES,
            container_id=found.id,
            container_name=self.name,
            image=real.image_id,
            image_id=real.image_id,
            state=found.status,
        )
        return Target(
            stack=self.stack, project=self.name, postgres=server, services=(service,), shelf=str(self.shelf)
        )

    def store_target(self, service: ServiceTarget) -> Target:
        """Return a stack that has nothing but one small store; of the real one nothing is in it."""
        nobody = {"container_id": "-", "container_name": "-", "volume": "-"}
        return Target(
            stack=self.stack,
            project=self.name,
            postgres=self.real.postgres.model_copy(update=nobody),
            services=(service,),
            shelf=str(self.shelf),
        )

    def copy(self, database: str = SPECIMEN) -> Copy:
        """Return its server as the checks of restored copies take one."""
        return Copy(
            container=self.name,
            volume=self.name,
            socket_dir=str(self.sockets),
            user=_USER,
            database=database,
            timeline=1,
            replayed_lsn="0/0",
        )

    def do(self, *statements: str, database: str = SPECIMEN) -> None:
        """Execute statements, each by itself."""
        with self.sql.copy(self.copy(), database=database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def ask(self, query: str, database: str = SPECIMEN) -> str:
        """Return the one value of a query as text, empty for NULL."""
        with self.sql.copy(self.copy(), database=database) as connection:
            row = connection.execute(query.encode()).fetchone()
        return "" if row is None or row[0] is None else str(row[0])

    def inside(self, text: str, *arguments: str) -> str:
        """Run a shell script in the server's container as its user; return what it printed."""
        server = self.real.postgres
        command = ("sh", "-c", text, "dr", *arguments)
        done = self.engine.run(self.name, command, user=f"{server.uid}:{server.gid}")
        if done.exit_code != 0:
            said = (done.errors or done.output).strip()[-200:]
            raise Unavailable(
                f"a script failed on the stage: {said}", where=self.name, code="selftest-server"
            )
        return done.output.strip()

    def on_volume(self, text: str) -> str:
        """Run a shell script on the volume of the stopped server, as its user; return what it printed."""
        server = self.real.postgres
        binds = {self.name: f"{VOLUME}:rw"}
        code, said = run(
            self.engine, shell(server, f"{self.name}-file", text, binds=binds, labelled=self.labels)
        )
        if code != 0:
            raise Unavailable(f"a script failed on the stage: {said.strip()[-200:]}", code="selftest-server")
        return said.strip()

    def job(self, name: str) -> Job:
        """Return the server's container, or one more like it under another name."""
        server = self.real.postgres
        return Job(
            name=name,
            image_id=server.image_id,
            entrypoint=("postgres",),
            command=(
                "-D",
                _DATA,
                *(part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")),
            ),
            user=f"{server.uid}:{server.gid}",
            binds={self.name: f"{VOLUME}:rw", str(self.sockets): f"{SOCKET}:rw"},
            # Where programs that are run in it look for the server.
            environment={"PGHOST": SOCKET},
            labels=self.labels,
            network=self.name,
        )

    def start(self, name: str) -> None:
        """Start a server and wait until it answers."""
        state, known = self.engine.ensure_job(self.job(name))
        if known and not state.running:
            self.engine.start(state.id)
        self.wait(lambda: self.ask("SELECT 1", database="template1"))

    def stop(self, name: str) -> None:
        """Stop a server cleanly."""
        self.engine.stop(name, 30)

    def wait(self, act: Callable[[], object], *, limit_seconds: float = _START_SECONDS) -> None:
        """Repeat until it is not ``Unavailable`` any more; then raise what it raised last."""
        deadline = time.monotonic() + limit_seconds
        while True:
            try:
                act()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            beat("the stage of the self-test gets ready")
            time.sleep(_POLL_SECONDS)

    def _make(self) -> None:
        server = self.real.postgres
        plain_files.own(self.sockets, server.uid, server.gid)
        self.engine.ensure_volume(self.name, {LABEL_STACK: self.stack})
        owner = f"{server.uid}:{server.gid}"
        binds = {self.name: f"{VOLUME}:rw"}
        for job in (
            as_root(
                shell(server, f"{self.name}-own", _OWNER, owner, binds=binds, labelled=self.labels),
                "CHOWN",
                "FOWNER",
            ),
            shell(server, f"{self.name}-init", _INITDB, binds=binds, labelled=self.labels),
        ):
            code, said = run(self.engine, job, limit_seconds=300)
            if code != 0:
                raise Unavailable(
                    f"the stage cannot be made: {said.strip()[-200:]}", where=job.name, code="selftest-server"
                )

    def _fill(self) -> None:
        self.do(f"CREATE DATABASE {SPECIMEN}", database="template1")
        script = files("activities.selftest").joinpath("specimen.sql").read_text()
        # Vacuumed as a table that is in use is: only then does an index count without its heap.
        self.do(script, "VACUUM (ANALYZE)")
