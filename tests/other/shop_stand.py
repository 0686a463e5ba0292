"""A stack of another shape than the lab's, with its orchestrator, and somebody else's project beside it."""

import hashlib
import io
import os
import pty
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import psycopg

from domain import names
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from infra import daemons
from infra.images.build import Images
from infra.lab.compose import PASSED, compose_command
from infra.temporal import server
from tests.e2e.stand import PATIENCE_SECONDS, ROOT, Said, Stand, temporal_port

HERE = Path(__file__).parent
UID = 70
# Alpine's images have this uid; everything else stays as the lab's image is.
OTHER_UID = f"""\
ARG BASE
FROM ${{BASE}}
RUN groupmod -g {UID} postgres && usermod -u {UID} -g {UID} postgres \\
 && chown postgres:postgres /var/lib/postgresql /run/postgresql
"""


class ShopStand(Stand):
    """Two Compose projects and the orchestrator of the first; nothing is shared with another stand."""

    def __init__(self) -> None:
        """Choose names, ports and folders; nothing is started."""
        super().__init__()
        mark = secrets.token_hex(3)
        self.project = f"shop{mark}"
        self.neighbour = f"{self.project}-old"
        self.folder = self.state / "projects"
        self.stack_file = self.state / "stacks" / f"{self.name}.yaml"
        # Canaries: they are searched for in everything that comes out.
        self.password = f"db-canary-{secrets.token_hex(12)}"
        self.cache_password = f"cache-canary-{secrets.token_hex(12)}"
        self._tags: list[str] = []
        self._variables: dict[str, str] = {}

    def up(self) -> None:
        """Start both projects and an orchestrator that knows no stack yet."""
        self._write_projects()
        self._variables = {**self._images(), "SHOP": self.project, "REDIS_PASSWORD": self.cache_password}
        self._variables["PORT_WEB"] = str(temporal_port())
        self.compose(self.neighbour, "up", "--detach", "--wait")
        self.compose(self.project, "up", "--detach", "--wait", "db", "Cache.1", "web")
        self.compose(self.project, "up", "migrate")
        self.events.start()
        assert self.dr("up").code == 0

    def down(self) -> None:
        """Remove everything that was made: processes, containers, volumes, images, state."""
        run = self.state / "run"
        for name in daemons.names(run) if run.is_dir() else ():
            daemons.stop(run, name)
        server.stop(self.temporal)
        self.events.stop()
        self._remove(f"{names.LABEL_STACK}={self.name}")
        for project in (self.project, self.neighbour):
            self._remove(f"{COMPOSE_PROJECT}={project}")
            for network in self.client.networks.list(filters={"label": f"{COMPOSE_PROJECT}={project}"}):
                network.remove()
        for tag in self._tags:
            self.client.images.remove(tag)
        self.client.close()
        shutil.rmtree(self.state, ignore_errors=True)

    def _remove(self, label: str) -> None:
        for container in self.client.containers.list(all=True, filters={"label": label}):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list(filters={"label": label}):
            volume.remove(force=True)

    def at_a_terminal(self, *words: str, lines: Iterable[str]) -> Said:
        """Run ``dr`` as a person does who types these lines."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, "".join(f"{line}\n" for line in lines).encode())
            done = subprocess.run(
                [sys.executable, "-c", "from starter.cli import main; main()", *words],
                cwd=ROOT,
                env=self.environment,
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        finally:
            os.close(theirs)
            os.close(ours)
        return Said(done.returncode, done.stdout, done.stderr)

    # -- its projects -----------------------------------------------------------------------------

    def _write_projects(self) -> None:
        shop, neighbour = self.folder / self.project, self.folder / self.neighbour
        (shop / "init").mkdir(parents=True)
        (neighbour / "papers").mkdir(parents=True)
        shutil.copy(HERE / "compose.yaml", shop)
        shutil.copy(HERE / "shop.py", shop)
        shutil.copy(HERE / "init_scram.sh", shop / "init" / "10_scram.sh")
        shutil.copy(HERE / "init_shop.sql", shop / "init" / "20_shop.sql")
        shutil.copy(HERE / "neighbour.yaml", neighbour / "compose.yaml")
        (neighbour / "papers" / "ledger.txt").write_text("nobody's business\n")
        password = shop / "db_password"
        password.write_text(self.password)
        # Read by the uids of two containers; nobody else reaches the folder.
        self.folder.chmod(0o711)
        password.chmod(0o444)

    def _images(self) -> dict[str, str]:
        """Return the images: the lab's own, one with another uid, one under a name that says nothing."""
        images = Images(self.client, ROOT / ".dr" / "cache")
        known = {name: images.future(name) for name in ("postgres", "redis", "functions", "tools")}
        images.ensure("tools")
        server_image = f"dr-tests/postgres:{self.project}"
        self.client.images.build(
            fileobj=io.BytesIO(OTHER_UID.encode()),
            tag=server_image,
            buildargs={"BASE": known["postgres"].result()},
            rm=True,
            forcerm=True,
        )
        web = f"dr-tests/{self.project}"
        self.client.images.get(known["functions"].result()).tag(web, "1")
        self._tags = [server_image, f"{web}:1"]
        return {"IMAGE_DB": server_image, "IMAGE_CACHE": known["redis"].result(), "IMAGE_WEB": f"{web}:1"}

    def compose(self, project: str, *arguments: str) -> None:
        """Run one Compose command on a project, in its folder."""
        kept = {name: os.environ[name] for name in PASSED if name in os.environ}
        done = subprocess.run(
            [*compose_command(), "--project-name", project, "--progress", "quiet", *arguments],
            cwd=self.folder / project,
            env=kept | self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def container(self, service: str, project: str = "") -> Any:
        """Return the container of a service."""
        labels = [f"{COMPOSE_PROJECT}={project or self.project}", f"{COMPOSE_SERVICE}={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    # -- what is in it ----------------------------------------------------------------------------

    def rows(self, query: str, database: str = "shop") -> list[tuple[Any, ...]]:
        """Run SQL on the live server, at its container's own address."""
        networks = self.container("db").attrs["NetworkSettings"]["Networks"]
        with psycopg.connect(
            host=next(iter(networks.values()))["IPAddress"],
            user="shopkeeper",
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def order(self) -> int:
        """Order something as a user does; return the number that was acknowledged."""
        said = httpx.post(
            f"http://127.0.0.1:{self._variables['PORT_WEB']}/orders", timeout=5, trust_env=False
        )
        said.raise_for_status()
        return int(said.json()["id"])

    def orders_counted(self) -> int:
        """Return the counter in Redis, which wants its password."""
        script = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli --no-auth-warning get orders'
        return int(self.container("Cache.1").exec_run(["sh", "-c", script]).output)

    def invoices(self) -> str:
        """Return a digest of the second database's rows."""
        query = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM invoices t"
        return str(self.rows(query, "billing"))

    def neighbour_as_it_is(self) -> dict[str, str]:
        """Return containers, volumes, networks, files and data of the other project, as comparable text."""
        found: dict[str, str] = {}
        for service in ("db", "cache"):
            raw = self.container(service, self.neighbour).attrs
            state = (raw["Id"], raw["State"]["StartedAt"], raw["State"]["Status"], raw["RestartCount"])
            found[service] = f"{state} {raw['HostConfig']['RestartPolicy']} {raw['Config']['Labels']}"
            mounts = sorted(str(mount.get("Name") or mount["Source"]) for mount in raw["Mounts"])
            found[f"mounts of {service}"] = str(mounts)
        label = f"{COMPOSE_PROJECT}={self.neighbour}"
        found["volumes"] = str(
            [volume.attrs for volume in self.client.volumes.list(filters={"label": label})]
        )
        found["networks"] = str(
            sorted(str(n.id) for n in self.client.networks.list(filters={"label": label}))
        )
        for path in sorted((self.folder / self.neighbour).rglob("*")):
            if path.is_file():
                stat = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = f"{digest} {stat.st_mtime_ns} {stat.st_uid} {stat.st_mode}"
        read = "find /var/lib/postgresql/data -type f | LC_ALL=C sort | xargs sha256sum"
        listed = self.container("db", self.neighbour).exec_run(["sh", "-c", read], user="postgres").output
        assert listed.count(b"\n") > 500
        found["data"] = listed.decode()
        return found
