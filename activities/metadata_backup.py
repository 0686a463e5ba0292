"""Backups of Hasura's metadata: exported through its API, sealed, for it may hold secrets of webhooks."""

import json
from pathlib import Path
from typing import Any

import httpx
from temporalio import activity

from activities.answers import ask, json_in
from activities.engine import Engine
from activities.hasura import admin_client, ask_metadata, named
from activities.sealed_entry import Content, SealedEntries
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.entries import Entry, Source, bare
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.hasura_metadata import INCONSISTENT, canonical, holdings_of, tables_of
from domain.order import ServiceTarget, Target
from domain.sealing import BackupKey
from domain.stack import Kind
from domain.store_backups import StoreBackupOrder, StoreBackups

STORE = "hasura"
KIND = "metadata"


class MetadataBackups:
    """Backs up what Hasura was told about the database."""

    def __init__(self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._secrets = secrets
        self._tokens = tokens
        self.entries = SealedEntries(state, STORE, KIND)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_metadata_backup(self, order: StoreBackupOrder) -> StoreBackups:
        """Export the metadata, or return the backup that has this label.

        Raises ``Refused`` without Hasura in the stack, without a key (``backup-key-missing``), and while a
        recovery is open; ``Unavailable``.
        """
        self._tokens.admit(order, order.target.stack)
        entry = self.take(order)
        return StoreBackups(entries=(bare(entry),), sentence=entry.sentence)

    def take(self, order: StoreBackupOrder) -> Entry:
        """Take the backup for a hand that was admitted."""
        service = service_of(order.target, order.service)
        return self.entries.ensure(order, lambda key: self._content(order.target, service, key))

    def _content(self, target: Target, service: ServiceTarget, key: BackupKey) -> Content:
        with admin_client(self._engine, self._secrets, target, service) as client:
            metadata, version = exported(client)
            wrong = inconsistent_in(client)
            program = _program(client)
        tables = tables_of(metadata)
        if not tables:
            raise Refused(
                "Hasura tracks no table, so there is nothing to back up",
                where=service.name,
                hint="a Hasura that lost its metadata still says that it is healthy",
                code="metadata-empty",
            )
        said = f"{len(tables)} tracked tables, version {version} of the metadata"
        if wrong:
            said += f"; {len(wrong)} objects did not fit the database: {', '.join(list(wrong)[:3])}"
        return Content(
            plain=canonical(metadata),
            held=holdings_of(metadata, wrong, key),
            sentence=said,
            source=Source(stack=target.stack, version=program, image_id=service.image_id),
        )


def service_of(target: Target, name: str = "") -> ServiceTarget:
    """Return Hasura's service; ``Refused`` (``service-missing``) when the stack has none."""
    found = target.of_kind(Kind.HASURA)
    if name:
        found = next((one for one in target.services if one.name == name and one.kind is Kind.HASURA), None)
    if found is None:
        raise Refused("Hasura is not configured in this stack", where=target.stack, code="service-missing")
    return found


def exported(client: httpx.Client) -> tuple[dict[str, Any], int]:
    """Return the metadata and its resource version."""
    answer = ask_metadata(client, "export_metadata", {}, version=2)
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict):
        raise Unavailable("Hasura exports no metadata", where=str(client.base_url), code="hasura-unavailable")
    return metadata, int(answer.get("resource_version") or 0)


def inconsistent_in(client: httpx.Client) -> dict[str, str]:
    """Return the objects that do not fit the database, each with the reason."""
    answer = ask_metadata(client, "get_inconsistent_metadata", {})
    found = answer.get("inconsistent_objects") or []
    return {named(one): str(one.get("reason", "")) for one in found if isinstance(one, dict)}


def metadata_in(entry: Entry, plain: bytes) -> dict[str, Any]:
    """Return the metadata of a backup that was opened; ``BackupUnusable`` for anything else."""
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BackupUnusable(f"backup {entry.id} holds no metadata", where=entry.path, code="backup-damaged")
    return found


def recorded_inconsistent(entry: Entry) -> int:
    """Return how many objects did not fit the database when the backup was taken."""
    return next((one.count for one in entry.held if one.name == INCONSISTENT), 0)


def _program(client: httpx.Client) -> str:
    try:
        found = json_in(ask(client, "GET", "/v1/version"))
    except httpx.HTTPError:
        return ""
    return str(found.get("version", "")) if isinstance(found, dict) else ""
