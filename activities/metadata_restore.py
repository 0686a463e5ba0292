"""Has Hasura speak the metadata of a backup again; what it spoke before is kept as a backup first."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import httpx
import psycopg
from temporalio import activity

from activities.engine import Engine
from activities.hasura import admin_client, ask_metadata
from activities.metadata_backup import MetadataBackups, exported, inconsistent_in, metadata_in, service_of
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.configuration import keyed_digest
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.hasura_metadata import MetadataRestoreOrder, canonical, tables_of
from domain.order import Target
from domain.recovery import Judged, Proof
from domain.store_backups import StoreBackupOrder

Connection = psycopg.Connection[Any]
_NAMED = 5
_SHORT = 16
_TABLES = """
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""


class Database(Protocol):
    """What is needed of the database: a connection to the live server."""

    def live(
        self, target: Target, *, database: str | None = None, timeout_seconds: int = 0
    ) -> AbstractContextManager[Connection]:
        """Connect to the live server."""


class MetadataRestoring:
    """Replaces Hasura's metadata, all of it or nothing."""

    def __init__(self, engine: Engine, secrets: Secrets, sql: Database, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._secrets = secrets
        self._sql = sql
        self._tokens = tokens
        self._backups = MetadataBackups(engine, secrets, tokens, state)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_metadata_restored(self, order: MetadataRestoreOrder) -> Judged:
        """Have Hasura hold the metadata of a backup, and show that it fits the database.

        Raises ``Refused`` (``tables-missing``) before anything is changed when the database lacks a table
        that it speaks about, ``BackupUnusable``, ``Unavailable``, and ``VerificationFailed`` when Hasura
        holds something else afterwards.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        entry = self._backups.entries.named(target, order.entry_id)
        metadata = metadata_in(entry, self._backups.entries.opened(target, entry))
        self._refuse_without_tables(target, metadata)
        service = service_of(target)
        with admin_client(self._engine, self._secrets, target, service) as client:
            now, version = exported(client)
            kept = ""
            if canonical(now) != canonical(metadata):
                kept = self._keep(order, now)
                # The version shows that nobody changed it since it was kept.
                ask_metadata(
                    client,
                    "replace_metadata",
                    {"allow_inconsistent_metadata": False, "metadata": metadata},
                    version=2,
                    resource_version=version,
                )
            proofs = _proven(client, metadata)
        wrong = next((proof for proof in proofs if proof.passed is not True), None)
        if wrong is not None:
            raise VerificationFailed(wrong.evidence, where=service.name, code="metadata-not-restored")
        said = f"Hasura speaks the metadata of {entry.id}: {len(tables_of(metadata))} tracked tables"
        said += f"; what it spoke before is kept as {kept}" if kept else "; it did already"
        return Judged(passed=True, proofs=proofs, sentence=said)

    def _keep(self, order: MetadataRestoreOrder, now: dict[str, Any]) -> str:
        """Keep what Hasura speaks now as a backup; what speaks about nothing cannot be one."""
        if not tables_of(now):
            return "nothing, for it spoke about no table"
        target = order.target
        which = keyed_digest(self._backups.entries.keys.current(), canonical(now))[:_SHORT]
        kept = self._backups.take(
            StoreBackupOrder(
                recovery_id=order.recovery_id,
                target=target,
                # A second attempt after the exchange finds its first one's; other metadata is kept anew.
                label=f"before {order.entry_id} {order.recovery_id} {which}",
                reason=f"before {order.entry_id} was restored",
            )
        )
        return kept.id

    def _refuse_without_tables(self, target: Target, metadata: dict[str, Any]) -> None:
        try:
            with self._sql.live(target, timeout_seconds=30) as connection:
                there = {(str(one[0]), str(one[1])) for one in connection.execute(_TABLES.encode())}
        except psycopg.Error as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Unavailable(f"SQL for the metadata: {reason}", code="postgres-unavailable") from None
        wanted = {(schema, name) for source, schema, name in tables_of(metadata) if source in {"", "default"}}
        missing = sorted(f"{schema}.{name}" for schema, name in wanted - there)
        if missing:
            raise Refused(
                f"the database lacks {len(missing)} tables that the metadata speaks about: "
                + ", ".join(missing[:_NAMED]),
                where=target.postgres.database,
                hint="restore the database first, or take another backup; nothing was changed",
                code="tables-missing",
            )


def _proven(client: httpx.Client, metadata: dict[str, Any]) -> tuple[Proof, ...]:
    now, _ = exported(client)
    same = canonical(now) == canonical(metadata)
    wrong = list(inconsistent_in(client))
    return (
        Proof(
            name="metadata",
            passed=same,
            evidence="it is that of the backup" if same else "Hasura holds other metadata than it was given",
        ),
        Proof(
            name="consistent",
            passed=not wrong,
            evidence=f"{len(wrong)} objects do not fit: {', '.join(wrong[:_NAMED])}"
            if wrong
            else "all of it",
        ),
    )
