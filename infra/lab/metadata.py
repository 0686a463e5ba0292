"""Tells Hasura which tables the application uses, as the project's own metadata does."""

from __future__ import annotations

import re
from typing import Any

import httpx

from domain.errors import Unavailable
from infra.lab.seed import SCHEMA

READABLE = (
    "nchat_users",
    "nchat_channels",
    "nchat_channel_members",
    "nchat_messages",
    "nchat_threads",
    "nchat_reactions",
    "nchat_attachments",
)


def tables() -> list[str]:
    """Return the application's tables, in the order in which the schema makes them."""
    return [
        name
        for path in sorted(SCHEMA.glob("*.sql"))
        for name in re.findall(r"^CREATE TABLE (nchat_\w+)", path.read_text(), re.MULTILINE)
    ]


def track(url: str, secret: str) -> None:
    """Track every table that is not tracked yet; signed-in users may read those that a client shows."""
    with httpx.Client(base_url=url, headers={"X-Hasura-Admin-Secret": secret}, timeout=60) as client:
        said = _call(client, {"type": "export_metadata", "args": {}})
        known = {entry["table"]["name"] for source in said["sources"] for entry in source["tables"]}
        calls: list[dict[str, Any]] = []
        for name in tables():
            table = {"source": "default", "table": {"schema": "public", "name": name}}
            if name in known:
                continue
            calls.append({"type": "pg_track_table", "args": table})
            if name in READABLE:
                permission = {"role": "user", "permission": {"columns": "*", "filter": {}}}
                calls.append({"type": "pg_create_select_permission", "args": table | permission})
        if calls:
            _call(client, {"type": "bulk", "args": calls})


def _call(client: httpx.Client, body: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the call answers
    said = client.post("/v1/metadata", json=body)
    if said.status_code != httpx.codes.OK:
        raise Unavailable(f"{body['type']} was refused", where=said.text[:300], code="hasura-refused")
    return said.json()
