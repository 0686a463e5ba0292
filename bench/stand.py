"""A lab of its own, grown to a size, protected by the product's own processes."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import psycopg
from temporalio.client import Client
from temporalio.service import RPCError

from activities.containers import Containers
from activities.engine import Engine
from activities.secrets import Secrets
from bench.place import end_processes, own_place, say
from domain import names
from domain.approval import Message
from domain.backups import Backup
from domain.errors import Unavailable
from domain.incident import RecoveryRequest, RecoveryResult
from domain.order import Facts, StackOrder
from domain.release import Released
from domain.report import Report
from infra import up
from infra.lab.lab import Lab
from infra.lab.protected import write_stack_file
from infra.lab.settings import LabSettings, Scale, free_ports
from starter import orchestrator
from worker.report_store import load_report
from worker.settings import REPOSITORY, Settings, environment
from workflows.backup import BackupRequest
from workflows.release import ReleaseRequest

GB = 10**9
LONGEST_RECOVERY_SECONDS = 3600
_GROW_ROWS = 200_000
_GROW = """
INSERT INTO nchat_audit_logs (user_id, action, entity_type, entity_id, channel_id, old_values, new_values,
                              ip_address, user_agent, request_id, created_at)
SELECT user_id, action, entity_type, gen_random_uuid(), channel_id, old_values, new_values,
       ip_address, user_agent, md5(random()::text), created_at - interval '1 second'
  FROM nchat_audit_logs LIMIT %s"""


class Stand:
    """One protected lab; every command of the operator is the product's own."""

    def __init__(self, name: str, scale: Scale) -> None:
        """Choose names and ports; nothing is started."""
        self.name = name
        self.settings = Settings()
        self.client = docker.from_env(timeout=600)
        self.engine = Engine(self.client)
        lab = LabSettings(
            project=f"dr-{name}",
            prefix=name.replace("-", ""),
            ports=free_ports(),
            state=self.settings.state,
            seed_scale=scale,
            shared_cache=REPOSITORY / ".dr" / "cache",
        )
        self.lab = Lab(lab, self.client)

    # -- its life ---------------------------------------------------------------------------------

    def up(self) -> None:
        """Start the lab alone."""
        write_stack_file(self.lab.settings, self.name)
        last = ""

        def tell(line: str, _fraction: float | None) -> None:
            nonlocal last
            if line != last:
                say(f"  {line}")
            last = line

        self.lab.up(tell)

    def start_orchestrator(self) -> None:
        """Start Temporal and the worker."""
        endpoint = up.ensure_temporal(self.settings, lambda _: None)
        up.ensure_worker(self.settings, lambda _: None, endpoint)
        up.wait_for_pollers(self.settings)

    def start_ledger(self, *, probes_per_second: float = 10) -> None:
        """Start ledger and prober."""
        asked = {"DR_PROBES_PER_SECOND": str(probes_per_second)}
        up.ensure_ledgers(self.settings, lambda _: None, environment=asked)

    def down(self) -> None:
        """Remove the containers and volumes of this stand, and nothing else."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{names.LABEL_STACK}={self.name}"}
        for container in self.client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list(filters=mine):
            volume.remove(force=True)
        self.lab.down()
        self.client.close()

    # -- the database -----------------------------------------------------------------------------

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection to the live database; autocommit."""
        return psycopg.connect(self.lab.dsn(), autocommit=True, connect_timeout=5)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL on the live database."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def size_bytes(self) -> int:
        """Return the size of the chat's database."""
        return int(self.sql("SELECT pg_database_size(current_database())")[0][0])

    def version(self) -> str:
        """Return the version of the server."""
        return str(self.sql("SHOW server_version")[0][0])

    def grow(self, to_bytes: int) -> None:
        """Copy rows of the audit log until the database has a size: new keys, the same text."""
        with contextlib.closing(self.connect()) as connection:
            # Keys were checked when the originals were written.
            connection.execute("SET session_replication_role = replica")
            while self.size_bytes() < to_bytes:
                connection.execute(_GROW.encode(), [_GROW_ROWS])
        self.sql("CHECKPOINT")

    def write(self, wal_bytes: int) -> None:
        """Write rows until that much WAL was written."""
        begin = self.sql("SELECT pg_current_wal_lsn()::text")[0][0]
        with contextlib.closing(self.connect()) as connection:
            connection.execute("SET session_replication_role = replica")
            while self.sql("SELECT pg_current_wal_lsn() - %s::pg_lsn", begin)[0][0] < wal_bytes:
                connection.execute(_GROW.encode(), [_GROW_ROWS // 20])

    def facts(self) -> Facts:
        """Resolve the stack as the worker does."""
        containers = Containers(self.engine, self.settings.stacks(), self.name, self.settings.state)
        return containers.observe_stack(StackOrder(stack=self.name))

    def secrets(self) -> Secrets:
        """Return what resolves references to secrets of this stack."""
        return Secrets(self.engine, environment())

    # -- the operator -----------------------------------------------------------------------------

    def protect(self) -> Backup:
        """Stream the WAL, and take and verify a base backup."""

        async def work(client: Client, settings: Settings) -> Backup:
            request = BackupRequest(stack=self.name, reason="bench")
            workflow_id = f"backup/{self.name}/postgres/base"
            handle = await orchestrator.start(client, settings, "BaseBackup", request, workflow_id, Backup)
            return await orchestrator.result_of(handle)

        return orchestrator.run(work)

    def recover(self) -> tuple[Report, int]:
        """Recover, the gate approved at once; return the report and the number of events."""

        async def work(client: Client, settings: Settings) -> tuple[str, int]:
            request = RecoveryRequest(stack=self.name, requested_by="bench")
            workflow_id = names.recovery_workflow_id(self.name)
            handle = await orchestrator.start(
                client, settings, "DatabaseCorruption", request, workflow_id, RecoveryResult
            )
            approving = asyncio.create_task(self._approve(client, workflow_id))
            try:
                async with asyncio.timeout(LONGEST_RECOVERY_SECONDS):
                    result = await orchestrator.result_of(handle)
            finally:
                approving.cancel()
            return result.recovery_id, (await handle.describe()).history_length

        recovery_id, events = orchestrator.run(work)
        report = load_report(self.settings.state, recovery_id)
        if report is None or report.outcome != "recovered":
            raise Unavailable(f"not recovered: {report.rule if report else 'no report'}", code="bench-failed")
        return report, events

    async def _approve(self, client: Client, workflow_id: str) -> None:
        approved = ""
        while True:
            view = None
            with contextlib.suppress(Unavailable, RPCError):  # the run is asked again
                view = await orchestrator.look(client, workflow_id)
            if view is not None and view.state == "gate" and view.digest != approved:
                approved = view.digest
                said = Message(gate=view.gate, digest=view.digest, by="bench approver")
                await client.get_workflow_handle(workflow_id).signal("approve", said)
            if view is not None and view.state == "needs_human":
                say(f"  parked at {view.parked_step}: {view.parked_reason}")
                end = Message(by="bench", reason="the measurement cannot go on")
                await client.get_workflow_handle(workflow_id).signal("abort", end)
                return
            await asyncio.sleep(0.1)

    def release(self, recovery_id: str) -> None:
        """Remove the damaged data that a recovery kept aside."""

        async def work(client: Client, settings: Settings) -> None:
            request = ReleaseRequest(recovery_id=recovery_id)
            await orchestrator.execute(client, settings, "Release", request, Released)

        orchestrator.run(work)


@contextmanager
def stand(scale: Scale) -> Iterator[Stand]:
    """Give out a stand with its lab running; everything of it is removed afterwards."""
    with own_place() as name:
        made = Stand(name, scale)
        try:
            made.up()
            yield made
        finally:
            # The worker first: it would start again what is removed.
            end_processes(made.settings.state)
            made.down()
