"""Hasura's metadata as a backup of it: what it speaks about, and in one spelling. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from domain.configuration import group
from domain.holdings import Holding
from domain.order import TargetOrder
from domain.sealing import BackupKey

TABLES = "tracked tables"
PERMISSIONS = "permissions"
TRIGGERS = "event triggers"
OTHERS = "other objects"
WHOLE = "metadata"
INCONSISTENT = "inconsistent"
_PERMISSIONS = "_permissions"
_OTHER = ("actions", "cron_triggers", "remote_schemas", "query_collections", "custom_types")


class MetadataRestoreOrder(TargetOrder):
    """Have Hasura speak the metadata of a backup again."""

    entry_id: str


def canonical(metadata: object) -> bytes:
    """Return metadata as the same bytes, however it was spelled."""
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def tables_of(metadata: Mapping[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the tracked tables by source, schema and name."""
    found = {}
    for source in _maps(metadata.get("sources")):
        for entry in _maps(source.get("tables")):
            table = entry.get("table")
            schema, name = ("public", table) if isinstance(table, str) else ("public", "")
            if isinstance(table, dict):
                schema, name = str(table.get("schema", "public")), str(table.get("name", ""))
            found[str(source.get("name", "")), schema, str(name)] = entry
    return found


def holdings_of(
    metadata: Mapping[str, Any], inconsistent: Mapping[str, str], key: BackupKey
) -> tuple[Holding, ...]:
    """Return what metadata holds; ``inconsistent`` are the objects that did not fit, with the reason.

    A group that is empty is none, but for the whole.
    """
    groups: dict[str, dict[str, bytes]] = {TABLES: {}, PERMISSIONS: {}, TRIGGERS: {}, OTHERS: {}}
    for (source, schema, name), entry in tables_of(metadata).items():
        said = f"{source} {schema}.{name}"
        groups[TABLES][said] = canonical(entry)
        for kind, rule in _permissions(entry):
            groups[PERMISSIONS][f"{said} {kind} {rule.get('role', '')}"] = canonical(rule)
        for trigger in _maps(entry.get("event_triggers")):
            groups[TRIGGERS][f"{said} {trigger.get('name', '')}"] = canonical(trigger)
    for kind in _OTHER:
        if metadata.get(kind):
            groups[OTHERS][kind] = canonical(metadata[kind])
    groups[WHOLE] = {f"version {metadata.get('version', 0)}": canonical(metadata)}
    groups[INCONSISTENT] = {name: reason.encode() for name, reason in inconsistent.items()}
    return tuple(group(key, name, things) for name, things in groups.items() if things)


def _permissions(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, rules in entry.items():
        if name.endswith(_PERMISSIONS):
            for rule in _maps(rules):
                yield name.removesuffix(_PERMISSIONS), rule


def _maps(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
