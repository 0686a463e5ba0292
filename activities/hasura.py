"""Hasura: its metadata must match the database that came back, strictly."""

import json
from typing import Any

import httpx
from temporalio import activity

from activities.address import http_url
from activities.answers import ask, json_in
from activities.engine import Engine
from activities.secrets import Secrets
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.order import ServiceTarget, Target, TargetOrder
from domain.recovery import Judged, Proof
from domain.stack import Kind

_SECONDS = 15.0
_NAMED = 5
_JSON = {"Content-Type": "application/json"}
_METADATA_BYTES = 64 * 1024 * 1024


class Hasura:
    """Speaks Hasura's metadata API; never drops an object to make the rest consistent."""

    def __init__(self, engine: Engine, secrets: Secrets) -> None:
        """Find the service through ``engine`` and reveal its admin secret through ``secrets``."""
        self._engine = engine
        self._secrets = secrets

    @activity.defn(no_thread_cancel_exception=True)
    def verify_metadata(self, order: TargetOrder) -> Judged:
        """Have the metadata read again from the database, and require that all of it is consistent.

        Raises ``VerificationFailed`` with code ``hasura-inconsistent`` naming the objects.
        """
        service = order.target.of_kind(Kind.HASURA)
        if service is None:
            return Judged(passed=True, sentence="Hasura is not configured in this stack")
        with admin_client(self._engine, self._secrets, order.target, service) as client:
            ask_metadata(client, "reload_metadata", {"reload_sources": True, "reload_remote_schemas": False})
            answer = ask_metadata(client, "get_inconsistent_metadata", {})
            broken = [named(one) for one in answer.get("inconsistent_objects") or []]
            triggers = _event_triggers(ask_metadata(client, "export_metadata", {}, version=2))
            strict = _get(client, "/healthz?strict=true")
        if broken or answer.get("is_consistent") is not True or strict != httpx.codes.OK:
            raise VerificationFailed(
                f"{len(broken)} objects of Hasura's metadata do not fit the database: "
                + (", ".join(broken[:_NAMED]) or f"strict health says {strict}"),
                where=service.name,
                hint="repair the tables or track them again, then retry; nothing was dropped",
                code="hasura-inconsistent",
            )
        held = f"; {len(triggers)} tables have event triggers: {', '.join(triggers)}" if triggers else ""
        sentence = f"Hasura's metadata was read again and all of it is consistent{held}"
        proof = Proof(name="Hasura's metadata", passed=True, evidence=sentence)
        return Judged(passed=True, proofs=(proof,), sentence=sentence)


def admin_client(engine: Engine, secrets: Secrets, target: Target, service: ServiceTarget) -> httpx.Client:
    """Return a client that speaks as the admin; ``Refused`` (``secret-missing``) without a secret for it."""
    reference = service.secrets.get("admin_secret")
    if reference is None:
        raise Refused(
            "no admin secret is named for Hasura",
            where=f"services.{service.name}.secrets",
            hint="add admin_secret: container:hasura:HASURA_GRAPHQL_ADMIN_SECRET",
            code="secret-missing",
        )
    headers = {"X-Hasura-Admin-Secret": secrets.reveal(reference, target.project)}
    url = http_url(engine, service)
    return httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)


def ask_metadata(
    client: httpx.Client, kind: str, arguments: dict[str, object], version: int = 1, **beside: object
) -> dict[str, Any]:
    """Return what a call of the metadata API answers; ``beside`` stands beside its arguments.

    Raises ``Unavailable`` with code ``hasura-unavailable`` for a refusal too.
    """
    try:
        said = json.dumps({"type": kind, "version": version, "args": arguments, **beside}).encode()
        answer = ask(client, "POST", "/v1/metadata", headers=_JSON, content=said, limit_bytes=_METADATA_BYTES)
        body = json_in(answer)
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Hasura does not answer {kind}: {type(error).__name__}",
            where=str(client.base_url),
            code="hasura-unavailable",
        ) from None
    if answer.status_code != httpx.codes.OK or not isinstance(body, dict):
        reason = body.get("error", "no reason") if isinstance(body, dict) else "no reason"
        raise Unavailable(
            f"Hasura refuses {kind}: {reason}", where=str(client.base_url), code="hasura-unavailable"
        )
    return body


def _get(client: httpx.Client, path: str) -> int:
    try:
        return ask(client, "GET", path).status_code
    except httpx.HTTPError as error:
        raise Unavailable(
            f"Hasura does not answer: {type(error).__name__}",
            where=str(client.base_url),
            code="hasura-unavailable",
        ) from None


def named(inconsistent: dict[str, Any]) -> str:
    """Return what an object of the list of inconsistent ones is, and why."""
    kind = str(inconsistent.get("type", "object"))
    definition = inconsistent.get("definition")
    name = str(inconsistent.get("name") or (definition if isinstance(definition, str) else "") or "")
    if not name and isinstance(definition, dict):
        table = definition.get("table", definition)
        parts = (table.get("schema"), table.get("name")) if isinstance(table, dict) else (table,)
        name = ".".join(str(part) for part in parts if part)
    reason = str(inconsistent.get("reason", ""))[:120]
    return f"{name or kind} ({reason})" if reason else name or kind


def _event_triggers(exported: dict[str, Any]) -> list[str]:
    found = []
    for source in (exported.get("metadata") or {}).get("sources") or []:
        for entry in source.get("tables") or []:
            if entry.get("event_triggers"):
                table = entry["table"]
                found.append(f"{table.get('schema', 'public')}.{table['name']}")
    return sorted(found)
