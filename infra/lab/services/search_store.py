"""Documents and tasks of the search stand-in, in two files so that accepting never waits for indexing."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DOCUMENTS = """
CREATE TABLE IF NOT EXISTS indexes (
    uid TEXT PRIMARY KEY, primary_key TEXT, settings TEXT NOT NULL DEFAULT '{}',
    created_at TEXT, updated_at TEXT);
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, index_uid TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (index_uid, id));
CREATE INDEX IF NOT EXISTS documents_place ON documents (index_uid, number);
CREATE TABLE IF NOT EXISTS fields (index_uid TEXT, field TEXT, count INTEGER, PRIMARY KEY (index_uid, field));
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='', contentless_delete=1);
"""
TASKS = """
CREATE TABLE IF NOT EXISTS tasks (
    uid INTEGER PRIMARY KEY, index_uid TEXT, status TEXT NOT NULL, type TEXT NOT NULL, details TEXT,
    error TEXT,
    payload TEXT, enqueued_at TEXT NOT NULL, started_at TEXT, finished_at TEXT);
CREATE INDEX IF NOT EXISTS tasks_status ON tasks (status, uid);
"""
BYTES = ""
"""The name, which no field has, under which the size of all documents is kept."""


def now() -> str:
    """Return the time as MeiliSearch writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def words_of(document: dict[str, Any]) -> str:
    """Return the searchable text of a document."""
    return " ".join(
        value
        for key, value in document.items()
        if isinstance(value, str) and key != "id" and not key.endswith(("_id", "_at"))
    )


def document_id(document: dict[str, Any], key: str) -> str:
    """Return the id of a document; a task with a document that has none fails."""
    if key not in document:
        raise TaskFailed("missing_document_id", f"Document doesn't have a `{key}` attribute")
    return str(document[key])


def counted(document: dict[str, Any]) -> dict[str, int]:
    """Return what a document adds to the figures of its index: one for each field, and its size."""
    return {**dict.fromkeys(document, 1), BYTES: len(json.dumps(document))}


class TaskFailed(Exception):
    """A task was accepted and cannot be carried out; carries MeiliSearch's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open a durable database."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA auto_vacuum = FULL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(schema)
    return connection


class SearchStore:
    """The two files of one data directory; the writing side belongs to one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read = connect(folder / "documents.db", DOCUMENTS)
        self._write = connect(folder / "documents.db", DOCUMENTS)
        self._tasks = connect(folder / "tasks.db", TASKS)
        self._task_lock = threading.Lock()
        # A task that was under way when the program died is done again: every task may run twice.
        self._tasks.execute("UPDATE tasks SET status = 'enqueued' WHERE status = 'processing'")

    def close(self) -> None:
        """Close the files; the last connection folds the write-ahead log in."""
        for connection in (self._read, self._write, self._tasks):
            connection.close()

    def enqueue(
        self, kind: str, index: str | None, details: dict[str, Any], payload: object = None
    ) -> dict[str, Any]:
        """Accept a task; it is durable when this returns."""
        at = now()
        with self._task_lock:
            last = self._tasks.execute("SELECT coalesce(max(uid), -1) FROM tasks").fetchone()[0]
            self._tasks.execute(
                "INSERT INTO tasks (uid, index_uid, status, type, details, payload, enqueued_at)"
                " VALUES (?, ?, 'enqueued', ?, ?, ?, ?)",
                (last + 1, index, kind, json.dumps(details), json.dumps(payload), at),
            )
        return {"taskUid": last + 1, "indexUid": index, "status": "enqueued", "type": kind, "enqueuedAt": at}

    def next_task(self) -> sqlite3.Row | None:
        """Take the oldest waiting task."""
        with self._task_lock:
            row: sqlite3.Row | None = self._tasks.execute(
                "SELECT * FROM tasks WHERE status = 'enqueued' ORDER BY uid LIMIT 1"
            ).fetchone()
            if row:
                self._tasks.execute(
                    "UPDATE tasks SET status = 'processing', started_at = ? WHERE uid = ?",
                    (now(), row["uid"]),
                )
        return row

    def finish(self, uid: int, details: dict[str, Any], error: TaskFailed | None) -> None:
        """Record the end of a task."""
        said = error and json.dumps({"message": str(error), "code": error.code, "type": "invalid_request"})
        with self._task_lock:
            self._tasks.execute(
                "UPDATE tasks SET status = ?, details = ?, error = ?, payload = NULL, finished_at = ?"
                " WHERE uid = ?",
                ("failed" if error else "succeeded", json.dumps(details), said, now(), uid),
            )

    def tasks(
        self, filters: dict[str, list[str]], limit: int, start: int | None
    ) -> tuple[list[dict[str, Any]], int]:
        """Return tasks, newest first, and how many match."""
        names = {"uids": "uid", "statuses": "status", "types": "type", "indexUids": "index_uid"}
        parts, values = ["1"], []
        for key, wanted in filters.items():
            parts.append(f"{names[key]} IN ({', '.join('?' * len(wanted))})")
            values.extend(wanted)
        where = " AND ".join(parts)
        with self._task_lock:
            total = self._tasks.execute(f"SELECT count(*) FROM tasks WHERE {where}", values).fetchone()[0]  # noqa: S608 - fixed names
            rows = self._tasks.execute(
                f"SELECT * FROM tasks WHERE {where} AND uid <= ? ORDER BY uid DESC LIMIT ?",  # noqa: S608 - fixed names
                [*values, 2**62 if start is None else start, limit],
            ).fetchall()
        return [task_answer(row) for row in rows], total

    def waiting(self, index: str) -> bool:
        """Say whether tasks of an index are not finished."""
        with self._task_lock:
            row = self._tasks.execute(
                "SELECT 1 FROM tasks WHERE index_uid = ? AND status IN ('enqueued', 'processing') LIMIT 1",
                (index,),
            ).fetchone()
        return row is not None

    def index(self, uid: str) -> sqlite3.Row | None:
        """Return one index."""
        found: sqlite3.Row | None = self._read.execute(
            "SELECT * FROM indexes WHERE uid = ?", (uid,)
        ).fetchone()
        return found

    def indexes(self) -> list[sqlite3.Row]:
        """Return all indexes."""
        return self._read.execute("SELECT * FROM indexes ORDER BY uid").fetchall()

    def stats(self, uid: str) -> dict[str, Any]:
        """Return the figures of an index."""
        found = self._read.execute("SELECT count(*) FROM documents WHERE index_uid = ?", (uid,)).fetchone()
        rows = self._read.execute("SELECT field, count FROM fields WHERE index_uid = ? AND count > 0", (uid,))
        fields = {row["field"]: row["count"] for row in rows}
        return {
            "numberOfDocuments": found[0],
            "isIndexing": self.waiting(uid),
            "rawDocumentDbSize": fields.pop(BYTES, 0),
            "fieldDistribution": fields,
        }

    def document(self, uid: str, key: str) -> dict[str, Any] | None:
        """Return one document."""
        row = self._read.execute(
            "SELECT body FROM documents WHERE index_uid = ? AND id = ?", (uid, key)
        ).fetchone()
        return json.loads(row["body"]) if row else None

    def documents(self, uid: str, limit: int, offset: int) -> list[dict[str, Any]]:
        """Return a page of documents."""
        rows = self._read.execute(
            # The pages before this one are skipped in the index alone, without reading their bodies.
            "SELECT body FROM documents WHERE number IN (SELECT number FROM documents WHERE index_uid = ?"
            " ORDER BY number LIMIT ? OFFSET ?) ORDER BY number",
            (uid, limit, offset),
        )
        return [json.loads(row["body"]) for row in rows]

    def search(self, uid: str, text: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Return the documents with all words of the text, the last one as a prefix, and their number."""
        terms = [f'"{word}"' for word in text.replace('"', " ").split()]
        if not terms:
            return self.documents(uid, limit, offset), int(self.stats(uid)["numberOfDocuments"])
        found = (
            "FROM words CROSS JOIN documents d ON d.number = words.rowid"
            " WHERE words MATCH ? AND d.index_uid = ?"
        )
        values = (" ".join(terms) + "*", uid)
        total = self._read.execute(f"SELECT count(*) {found}", values).fetchone()[0]
        rows = self._read.execute(f"SELECT d.body {found} LIMIT ? OFFSET ?", (*values, limit, offset))
        return [json.loads(row["body"]) for row in rows], total

    def ensure_index(self, uid: str, primary_key: str | None) -> str:
        """Make an index where it is missing and return its primary key."""
        at = now()
        self._write.execute(
            "INSERT INTO indexes (uid, primary_key, created_at, updated_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (uid) DO UPDATE SET primary_key = coalesce(primary_key, excluded.primary_key),"
            " updated_at = excluded.updated_at",
            (uid, primary_key, at, at),
        )
        row = self._write.execute("SELECT primary_key FROM indexes WHERE uid = ?", (uid,)).fetchone()
        return str(row["primary_key"] or "id")

    def add(self, uid: str, primary_key: str | None, documents: list[dict[str, Any]], *, merge: bool) -> None:
        """Add or replace documents in one transaction."""
        self._write.execute("BEGIN IMMEDIATE")
        try:
            key = self.ensure_index(uid, primary_key)
            fields: Counter[str] = Counter()
            for given in documents:
                document, name = given, document_id(given, key)
                if old := self._drop(uid, name):
                    fields.subtract(counted(old))
                    document = {**old, **given} if merge else given
                number = self._write.execute(
                    "INSERT INTO documents (index_uid, id, body) VALUES (?, ?, ?)",
                    (uid, name, json.dumps(document)),
                ).lastrowid
                self._write.execute(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words_of(document))
                )
                fields.update(counted(document))
            self._count(uid, fields)
            self._write.execute("COMMIT")
        except BaseException:
            self._write.execute("ROLLBACK")
            raise

    def remove(self, uid: str, keys: Iterable[str] | None) -> int:
        """Remove documents (all of them for None); returns how many went."""
        if self.index(uid) is None:
            raise TaskFailed("index_not_found", f"Index `{uid}` not found.")
        self._write.execute("BEGIN IMMEDIATE")
        if keys is None:
            rows = self._write.execute("SELECT id FROM documents WHERE index_uid = ?", (uid,)).fetchall()
            keys = [row["id"] for row in rows]
        fields: Counter[str] = Counter()
        gone = 0
        for key in keys:
            if old := self._drop(uid, str(key)):
                fields.subtract(counted(old))
                gone += 1
        self._count(uid, fields)
        self._write.execute("COMMIT")
        return gone

    def drop_index(self, uid: str) -> None:
        """Remove an index with its documents."""
        self.remove(uid, None)
        self._write.execute("DELETE FROM indexes WHERE uid = ?", (uid,))

    def change_settings(self, uid: str, settings: dict[str, Any]) -> None:
        """Keep settings; the stand-in does not act on them."""
        self.ensure_index(uid, None)
        self._write.execute(
            "UPDATE indexes SET settings = json_patch(settings, ?) WHERE uid = ?", (json.dumps(settings), uid)
        )

    def _drop(self, uid: str, key: str) -> dict[str, Any] | None:
        row = self._write.execute(
            "DELETE FROM documents WHERE index_uid = ? AND id = ? RETURNING number, body", (uid, key)
        ).fetchone()
        if row is None:
            return None
        self._write.execute("DELETE FROM words WHERE rowid = ?", (row["number"],))
        found: dict[str, Any] = json.loads(row["body"])
        return found

    def _count(self, uid: str, fields: Counter[str]) -> None:
        self._write.executemany(
            "INSERT INTO fields VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(uid, field, count) for field, count in fields.items()],
        )

    def copy_to(self, target: Path) -> None:
        """Write everything into another file."""
        with sqlite3.connect(target) as other:
            self._write.backup(other)
        other.close()

    def bodies(self, uid: str) -> Iterator[str]:
        """Yield the documents of an index as JSON."""
        rows = self._write.execute("SELECT body FROM documents WHERE index_uid = ? ORDER BY number", (uid,))
        return (str(row["body"]) for row in rows)


def task_answer(row: sqlite3.Row) -> dict[str, Any]:
    """Return a task as MeiliSearch shows it."""
    duration = None
    if row["finished_at"] and row["started_at"]:
        ends = [datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at")]
        duration = f"PT{(ends[1] - ends[0]).total_seconds():.6f}S"
    return {
        "uid": row["uid"],
        "indexUid": row["index_uid"],
        "status": row["status"],
        "type": row["type"],
        "canceledBy": None,
        "details": json.loads(row["details"] or "null"),
        "error": json.loads(row["error"] or "null"),
        "duration": duration,
        "enqueuedAt": row["enqueued_at"],
        "startedAt": row["started_at"],
        "finishedAt": row["finished_at"],
    }
