"""Stand-in for MeiliSearch: durable documents, asynchronous tasks, search, statistics, snapshots, dumps."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from .common import LOG, answer, serve, setting
from .search_files import (
    UNUSABLE,
    import_dump,
    import_snapshot,
    require_version,
    write_dump,
    write_snapshot,
)
from .search_store import SearchStore, TaskFailed, now

VERSION = setting("LAB_MEILI_VERSION", "1.6.2")
"""Another one makes it behave like that version, where versions differ."""
STORE = web.AppKey("store", SearchStore)
WAKE = web.AppKey("wake", asyncio.Event)


def refused(code: str, message: str, status: int, kind: str = "invalid_request") -> web.HTTPException:
    """Return an error in MeiliSearch's form."""
    text = json.dumps({"message": message, "code": code, "type": kind, "link": ""})
    classes = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
    }
    return classes[status](text=text, content_type="application/json")


@web.middleware  # type: ignore[untyped-decorator]  # aiohttp is installed in the image alone
async def authorised(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own type
    """Ask for the master key everywhere but at the health check; without one everything is open."""
    key = setting("MEILI_MASTER_KEY", "")
    if key and request.path != "/health":
        header = request.headers.get("Authorization", "")
        if not header:
            raise refused("missing_authorization_header", "The Authorization header is missing.", 401, "auth")
        if not hmac.compare_digest(header.encode(), f"Bearer {key}".encode()):
            raise refused("invalid_api_key", "The provided API key is invalid.", 403, "auth")
    found: web.StreamResponse = await handler(request)
    return found


def data_directory() -> Path:
    """Return where the data lies."""
    return Path(setting("MEILI_DB_PATH", "/meili_data"))


def accept(
    request: web.Request, kind: str, index: str | None, details: dict[str, Any], payload: object = None
) -> web.Response:
    """Accept a task and wake the worker."""
    said = request.app[STORE].enqueue(kind, index, details, payload)
    request.app[WAKE].set()
    return answer(said, 202)


def perform(store: SearchStore, task: sqlite3.Row) -> dict[str, Any]:
    """Carry out one task and return its details."""
    uid, kind = str(task["index_uid"]), str(task["type"])
    details: dict[str, Any] = json.loads(task["details"] or "{}")
    payload = json.loads(task["payload"] or "null")
    if kind == "documentAdditionOrUpdate":
        store.add(uid, payload["primaryKey"], payload["documents"], merge=payload["merge"])
        details["indexedDocuments"] = len(payload["documents"])
    elif kind == "documentDeletion":
        details["deletedDocuments"] = store.remove(uid, payload)
    elif kind == "indexCreation":
        if store.index(uid) is not None:
            raise TaskFailed("index_already_exists", f"Index `{uid}` already exists.")
        store.ensure_index(uid, payload)
    elif kind == "indexDeletion":
        details["deletedDocuments"] = store.stats(uid)["numberOfDocuments"]
        store.drop_index(uid)
    elif kind == "settingsUpdate":
        store.change_settings(uid, payload)
    elif kind == "snapshotCreation":
        folder = Path(setting("MEILI_SNAPSHOT_DIR", str(data_directory() / "snapshots")))
        write_snapshot(store, folder / f"{data_directory().name}.snapshot", VERSION)
    elif kind == "dumpCreation":
        details["dumpUid"] = datetime.now(UTC).strftime("%Y%m%d-%H%M%S%f")[:-3]
        folder = Path(setting("MEILI_DUMP_DIR", str(data_directory() / "dumps")))
        write_dump(store, folder / f"{details['dumpUid']}.dump", VERSION)
    return details


async def work(app: web.Application) -> None:
    """Carry out the tasks one after the other."""
    while True:
        task = app[STORE].next_task()
        if task is None:
            app[WAKE].clear()
            await app[WAKE].wait()
            continue
        details, problem = json.loads(task["details"] or "{}"), None
        try:
            details = await asyncio.to_thread(perform, app[STORE], task)
        except TaskFailed as failed:
            problem = failed
        except (sqlite3.Error, OSError) as failed:
            LOG.warning("task %s failed: %s", task["uid"], failed)
            problem = TaskFailed("internal", str(failed))
        app[STORE].finish(task["uid"], details, problem)


async def health(_request: web.Request) -> web.Response:
    """Say that the program serves."""
    return answer({"status": "available"})


async def version(_request: web.Request) -> web.Response:
    """Return the version."""
    return answer({"commitSha": "lab", "commitDate": "lab", "pkgVersion": VERSION})


def known(request: web.Request) -> str:
    """Return the index of a request; refuses one that is not there."""
    uid = str(request.match_info["uid"])
    if request.app[STORE].index(uid) is None:
        raise refused("index_not_found", f"Index `{uid}` not found.", 404)
    return uid


async def stats(request: web.Request) -> web.Response:
    """Return the figures of everything, or of one index."""
    store = request.app[STORE]
    if "uid" in request.match_info:
        return answer(store.stats(known(request)))
    size = sum(file.stat().st_size for file in data_directory().glob("*.db*"))
    found = {row["uid"]: store.stats(row["uid"]) for row in store.indexes()}
    return answer({"databaseSize": size, "lastUpdate": now(), "indexes": found})


def index_answer(row: sqlite3.Row) -> dict[str, Any]:
    """Return an index as MeiliSearch shows it."""
    return {
        "uid": row["uid"],
        "primaryKey": row["primary_key"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }


async def indexes(request: web.Request) -> web.Response:
    """List the indexes."""
    found = [index_answer(row) for row in request.app[STORE].indexes()]
    return answer({"results": found, "offset": 0, "limit": len(found), "total": len(found)})


async def index(request: web.Request) -> web.Response:
    """Return or delete one index."""
    uid = known(request)
    if request.method == "DELETE":
        return accept(request, "indexDeletion", uid, {})
    return answer(index_answer(request.app[STORE].index(uid)))


async def create_index(request: web.Request) -> web.Response:
    """Accept a new index."""
    body = await request.json()
    return accept(
        request,
        "indexCreation",
        str(body["uid"]),
        {"primaryKey": body.get("primaryKey")},
        body.get("primaryKey"),
    )


async def settings(request: web.Request) -> web.Response:
    """Return or change the settings of an index."""
    if request.method == "PATCH":
        body = await request.json()
        return accept(request, "settingsUpdate", request.match_info["uid"], body, body)
    row = request.app[STORE].index(known(request))
    return answer(json.loads(row["settings"]) if row else {})


async def add_documents(request: web.Request) -> web.Response:
    """Accept documents: POST replaces, PUT merges."""
    try:
        body = json.loads(await request.text())
    except ValueError:
        raise refused("malformed_payload", "The `json` payload provided is malformed.", 400) from None
    documents = body if isinstance(body, list) else [body]
    payload = {
        "primaryKey": request.query.get("primaryKey"),
        "documents": documents,
        "merge": request.method == "PUT",
    }
    details = {"receivedDocuments": len(documents), "indexedDocuments": None}
    return accept(request, "documentAdditionOrUpdate", request.match_info["uid"], details, payload)


async def list_documents(request: web.Request) -> web.Response:
    """Return a page of documents."""
    asked = await request.json() if request.method == "POST" else request.query
    store, uid = request.app[STORE], known(request)
    limit, offset = int(asked.get("limit", 20)), int(asked.get("offset", 0))
    found, wanted = store.documents(uid, limit, offset), asked.get("fields")
    if wanted:
        names = wanted if isinstance(wanted, list) else str(wanted).split(",")
        found = [{key: one[key] for key in names if key in one} for one in found]
    total = store.stats(uid)["numberOfDocuments"]
    return answer({"results": found, "offset": offset, "limit": limit, "total": total})


async def document(request: web.Request) -> web.Response:
    """Return or delete one document."""
    uid, key = known(request), request.match_info["id"]
    if request.method == "DELETE":
        return accept(request, "documentDeletion", uid, {"providedIds": 1, "deletedDocuments": None}, [key])
    found = request.app[STORE].document(uid, key)
    if found is None:
        raise refused("document_not_found", f"Document `{key}` not found.", 404)
    return answer(found)


async def delete_documents(request: web.Request) -> web.Response:
    """Accept the deletion of many documents, or of all."""
    keys = await request.json() if request.method == "POST" else None
    details = {"providedIds": len(keys or []), "deletedDocuments": None}
    return accept(request, "documentDeletion", request.match_info["uid"], details, keys)


async def search(request: web.Request) -> web.Response:
    """Search one index."""
    asked = (
        (await request.json() if request.can_read_body else {}) if request.method == "POST" else request.query
    )
    begun, text = time.monotonic(), str(asked.get("q") or "")
    limit, offset = int(asked.get("limit", 20)), int(asked.get("offset", 0))
    hits, total = request.app[STORE].search(known(request), text, limit, offset)
    took = int((time.monotonic() - begun) * 1000)
    return answer(
        {
            "hits": hits,
            "query": text,
            "processingTimeMs": took,
            "limit": limit,
            "offset": offset,
            "estimatedTotalHits": total,
        }
    )


async def tasks(request: web.Request) -> web.Response:
    """List tasks, newest first."""
    names = ("uids", "statuses", "types", "indexUids")
    filters = {name: request.query[name].split(",") for name in names if name in request.query}
    limit = int(request.query.get("limit", "20"))
    start = int(request.query["from"]) if "from" in request.query else None
    found, total = request.app[STORE].tasks(filters, limit + 1, start)
    following = found[limit]["uid"] if len(found) > limit else None
    first = found[0]["uid"] if found else None
    return answer(
        {"results": found[:limit], "total": total, "limit": limit, "from": first, "next": following}
    )


async def task(request: web.Request) -> web.Response:
    """Return one task."""
    found, _ = request.app[STORE].tasks({"uids": [request.match_info["uid"]]}, 1, None)
    if not found:
        raise refused("task_not_found", f"Task `{request.match_info['uid']}` not found.", 404)
    return answer(found[0])


async def snapshot(request: web.Request) -> web.Response:
    """Accept a snapshot."""
    return accept(request, "snapshotCreation", None, {})


async def dump(request: web.Request) -> web.Response:
    """Accept a dump."""
    return accept(request, "dumpCreation", None, {"dumpUid": None})


async def life(app: web.Application) -> Any:  # noqa: ANN401 - an aiohttp cleanup context
    """Open the store and carry out tasks while the program serves."""
    app[STORE], app[WAKE] = SearchStore(data_directory()), asyncio.Event()
    worker = asyncio.create_task(work(app))
    yield
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
    app[STORE].close()


def application() -> web.Application:
    """Return the stand-in as an application."""
    app = web.Application(middlewares=[authorised], client_max_size=100 * 2**20)
    app.cleanup_ctx.append(life)
    one = "/indexes/{uid}"
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/version", version),
            web.get("/stats", stats),
            web.get("/indexes", indexes),
            web.post("/indexes", create_index),
            web.get(one, index),
            web.delete(one, index),
            web.get(f"{one}/stats", stats),
            web.get(f"{one}/settings", settings),
            web.patch(f"{one}/settings", settings),
            web.post(f"{one}/documents", add_documents),
            web.put(f"{one}/documents", add_documents),
            web.get(f"{one}/documents", list_documents),
            web.delete(f"{one}/documents", delete_documents),
            web.post(f"{one}/documents/fetch", list_documents),
            web.post(f"{one}/documents/delete-batch", delete_documents),
            web.get(f"{one}/documents/{{id}}", document),
            web.delete(f"{one}/documents/{{id}}", document),
            web.get(f"{one}/search", search),
            web.post(f"{one}/search", search),
            web.get("/tasks", tasks),
            web.get("/tasks/{uid}", task),
            web.post("/snapshots", snapshot),
            web.post("/dumps", dump),
        ]
    )
    return app


def asked_for(arguments: list[str], option: str) -> str:
    """Return the value of an option, which may stand in the environment as well."""
    if option in arguments:
        return arguments[arguments.index(option) + 1]
    return setting(f"MEILI_{option.removeprefix('--').replace('-', '_').upper()}", "")


def main(arguments: list[str]) -> None:
    """Start; ``--import-snapshot FILE`` or ``--import-dump FILE`` fills an empty data directory first."""
    try:
        if snapshot_file := asked_for(arguments, "--import-snapshot"):
            import_snapshot(Path(snapshot_file), data_directory(), VERSION)
        elif dump_file := asked_for(arguments, "--import-dump"):
            import_dump(Path(dump_file), data_directory())
        require_version(data_directory(), VERSION)
    except (*UNUSABLE, IndexError) as problem:
        sys.exit(str(problem))
    serve(application, 7700)


if __name__ == "__main__":
    main(sys.argv[1:])
