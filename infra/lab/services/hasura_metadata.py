"""Hasura's metadata: kept in hdb_catalog, compared with the tables that are really there."""

from __future__ import annotations

import copy
import json
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

CATALOG = """
CREATE SCHEMA IF NOT EXISTS hdb_catalog;
CREATE TABLE IF NOT EXISTS hdb_catalog.hdb_version (
    hasura_uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), version text NOT NULL,
    upgraded_on timestamptz NOT NULL,
    cli_state jsonb NOT NULL DEFAULT '{}', console_state jsonb NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS hdb_catalog.hdb_metadata (
    id integer PRIMARY KEY, metadata json NOT NULL, resource_version integer NOT NULL DEFAULT 1 UNIQUE);
CREATE TABLE IF NOT EXISTS hdb_catalog.event_log (
    id text PRIMARY KEY DEFAULT gen_random_uuid(), schema_name text NOT NULL, table_name text NOT NULL,
    trigger_name text NOT NULL, payload jsonb NOT NULL, delivered boolean NOT NULL DEFAULT false,
    error boolean NOT NULL DEFAULT false, tries integer NOT NULL DEFAULT 0,
    created_at timestamp DEFAULT now(),
    locked timestamptz, next_retry_at timestamp, archived boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS hdb_catalog.hdb_cron_events (
    id text PRIMARY KEY DEFAULT gen_random_uuid(), trigger_name text NOT NULL,
    scheduled_time timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'scheduled', tries integer NOT NULL DEFAULT 0,
    created_at timestamptz DEFAULT now(),
    next_retry_at timestamptz);
CREATE TABLE IF NOT EXISTS hdb_catalog.hdb_action_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), action_name text, input_payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), status text NOT NULL);
INSERT INTO hdb_catalog.hdb_version (version, upgraded_on)
    SELECT '48', now() WHERE NOT EXISTS (SELECT 1 FROM hdb_catalog.hdb_version);
"""
EMPTY: dict[str, Any] = {
    "version": 3,
    "sources": [
        {
            "name": "default",
            "kind": "postgres",
            "tables": [],
            "configuration": {
                "connection_info": {
                    "database_url": {"from_env": "HASURA_GRAPHQL_DATABASE_URL"},
                    "isolation_level": "read-committed",
                    "use_prepared_statements": True,
                }
            },
        }
    ],
}
Columns = dict[str, str]


class MetadataError(Exception):
    """A metadata call was wrong; carries Hasura's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def table_of(arguments: dict[str, Any]) -> tuple[str, str]:
    """Return schema and name of the table that a call is about."""
    table = arguments.get("table")
    if isinstance(table, str):
        return "public", table
    if isinstance(table, dict) and table.get("name"):
        return str(table.get("schema", "public")), str(table["name"])
    raise MetadataError("parse-failed", 'key "table" not found')


class Metadata:
    """The document, its version, and what the database really holds (read at reload, then kept in memory)."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self.document: dict[str, Any] = copy.deepcopy(EMPTY)
        self.version = 1
        self._real: dict[tuple[str, str], Columns] = {}
        self._source_error: str | None = None

    async def boot(self) -> None:
        """Make the catalogue where it is missing, and load; fails when the database is down."""
        async with self._pool.connection() as connection:
            await connection.execute(CATALOG)
            await connection.execute(
                "INSERT INTO hdb_catalog.hdb_metadata VALUES (1, %s, 1) ON CONFLICT DO NOTHING",
                (json.dumps(EMPTY),),
            )
        await self.reload()

    async def reload(self) -> None:
        """Read the stored document and the database's tables again."""
        try:
            async with self._pool.connection() as connection:
                stored = await (
                    await connection.execute(
                        "SELECT metadata, resource_version FROM hdb_catalog.hdb_metadata"
                    )
                ).fetchone()
                await self._read_tables(connection)
        except (psycopg.Error, PoolTimeout) as error:
            self._real, self._source_error = (
                {},
                str(error).splitlines()[0] if str(error) else "connection error",
            )
            return
        self._source_error = None
        if stored:
            self.document, self.version = stored

    async def _read_tables(self, connection: psycopg.AsyncConnection[Any]) -> None:
        rows = await (
            await connection.execute(
                "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
                " WHERE c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped"
                " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            )
        ).fetchall()
        self._real = {}
        for schema, name, column, kind in rows:
            self._real.setdefault((schema, name), {})[column] = kind

    def tracked(self) -> list[dict[str, Any]]:
        """Return the tracked tables' entries."""
        return [entry for source in self.document.get("sources", []) for entry in source.get("tables", [])]

    def inconsistent(self) -> list[dict[str, Any]]:
        """Return the objects that the database does not back."""
        if self._source_error:
            return [
                {
                    "definition": "default",
                    "name": "source default",
                    "reason": f"Inconsistent object: {self._source_error}",
                    "type": "source",
                }
            ]
        return [
            {
                "definition": {"schema": schema, "name": name},
                "name": f"table {schema}.{name} in source default",
                "reason": f'Inconsistent object: no such table/view exists in source: "{schema}.{name}"',
                "type": "table",
            }
            for schema, name in (table_of(entry) for entry in self.tracked())
            if (schema, name) not in self._real
        ]

    def fields(self, role: str) -> dict[str, tuple[str, str, Columns, list[str]]]:
        """Return the tables a role may read: field name to schema, table, allowed columns and primary key."""
        found = {}
        for entry in self.tracked():
            schema, name = table_of(entry)
            columns = self._real.get((schema, name))
            if columns is None:
                continue
            if role != "admin":
                allowed = [p["permission"] for p in entry.get("select_permissions", []) if p["role"] == role]
                if not allowed:
                    continue
                wanted = allowed[0].get("columns", [])
                columns = {k: v for k, v in columns.items() if wanted == "*" or k in wanted}
            field = name if schema == "public" else f"{schema}_{name}"
            found[field] = (schema, name, columns, ["id"])
        return found

    async def change(self, kind: str, arguments: dict[str, Any]) -> None:
        """Carry out one metadata call that changes the document, and store it."""
        before = self.document
        self.document = copy.deepcopy(before)
        try:
            if kind == "replace_metadata":
                self._replace(arguments)
            else:
                self._change_table(kind, arguments)
            async with self._pool.connection() as connection:
                await connection.execute(
                    "UPDATE hdb_catalog.hdb_metadata SET metadata = %s,"
                    " resource_version = resource_version + 1",
                    (json.dumps(self.document),),
                )
                await self._read_tables(connection)
        except BaseException:
            self.document = before
            raise
        self.version += 1

    def _replace(self, arguments: dict[str, Any]) -> None:
        document = arguments.get("metadata", arguments)
        if not isinstance(document, dict) or "sources" not in document:
            raise MetadataError("parse-failed", 'key "sources" not found')
        self.document = document
        if not arguments.get("allow_inconsistent_metadata") and self.inconsistent():
            raise MetadataError("unexpected", "cannot continue due to inconsistent metadata")

    def _change_table(self, kind: str, arguments: dict[str, Any]) -> None:
        schema, name = table_of(arguments)
        tables = self.document["sources"][0]["tables"]
        entry = next((one for one in tables if table_of(one) == (schema, name)), None)
        if kind == "pg_track_table":
            if entry is not None:
                raise MetadataError("already-tracked", f'view/table already tracked: "{schema}.{name}"')
            if (schema, name) not in self._real:
                raise MetadataError("not-exists", f'no such table/view exists in source: "{schema}.{name}"')
            tables.append({"table": {"schema": schema, "name": name}})
        elif entry is None:
            raise MetadataError("already-untracked", f'view/table already untracked: "{schema}.{name}"')
        elif kind == "pg_untrack_table":
            tables.remove(entry)
        elif kind == "pg_create_select_permission":
            kept = [one for one in entry.get("select_permissions", []) if one["role"] != arguments["role"]]
            entry["select_permissions"] = [
                *kept,
                {"role": arguments["role"], "permission": arguments["permission"]},
            ]
        else:
            raise MetadataError("parse-failed", f"unknown metadata type {kind}")
