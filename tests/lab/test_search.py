"""MeiliSearch: the same tests run against the real program with ``DR_LAB_MEILISEARCH_URL``."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lab.bench import Bench, until


@pytest.fixture
def search(bench: Bench) -> Iterator[httpx.Client]:
    with bench.client("meilisearch") as client:
        client.headers["Authorization"] = f"Bearer {bench.env['MEILI_MASTER_KEY']}"
        yield client


@pytest.fixture
def index(search: httpx.Client) -> Iterator[str]:
    name = f"contract_{secrets.token_hex(4)}"
    yield name
    search.delete(f"/indexes/{name}")


def finished(search: httpx.Client, said: httpx.Response) -> dict[str, Any]:
    number = said.json()["taskUid"]

    def task() -> dict[str, Any] | None:
        found: dict[str, Any] = search.get(f"/tasks/{number}").json()
        return found if found["status"] in {"succeeded", "failed", "canceled"} else None

    return until(task) or {}


def add(search: httpx.Client, index: str, *documents: dict[str, object]) -> httpx.Response:
    return search.post(f"/indexes/{index}/documents", json=list(documents))


def test_health_is_open_and_the_rest_asks_for_the_key(bench: Bench) -> None:
    with bench.client("meilisearch") as client:
        assert client.get("/health").json() == {"status": "available"}
        assert client.get("/version").status_code == 401
        assert client.get("/version", headers={"Authorization": "Bearer wrong"}).status_code == 403


def test_a_write_is_a_task_that_is_accepted_first(search: httpx.Client, index: str) -> None:
    said = add(search, index, {"id": 1, "content": "hello"})
    assert said.status_code == 202
    assert said.json().items() >= {"status": "enqueued", "type": "documentAdditionOrUpdate"}.items()
    task = finished(search, said)
    assert task["status"] == "succeeded"
    assert task.keys() >= {"uid", "details", "error", "duration", "startedAt", "finishedAt"}


def test_documents_are_found_replaced_and_removed(search: httpx.Client, index: str) -> None:
    finished(
        search, add(search, index, {"id": "a", "content": "red apple"}, {"id": "b", "content": "green pear"})
    )
    hits = search.post(f"/indexes/{index}/search", json={"q": "appl"}).json()["hits"]
    assert [hit["id"] for hit in hits] == ["a"]
    finished(search, add(search, index, {"id": "a", "content": "yellow plum"}))
    assert search.get(f"/indexes/{index}/documents/a").json()["content"] == "yellow plum"
    assert search.post(f"/indexes/{index}/search", json={"q": "apple"}).json()["hits"] == []
    finished(search, search.post(f"/indexes/{index}/documents/delete-batch", json=["a"]))
    assert search.get(f"/indexes/{index}/documents/a").json()["code"] == "document_not_found"


def test_the_figures_of_an_index(search: httpx.Client, index: str) -> None:
    finished(search, add(search, index, {"id": 1, "content": "one"}, {"id": 2}))
    said = search.get(f"/indexes/{index}/stats").json()
    assert (said["numberOfDocuments"], said["isIndexing"]) == (2, False)
    assert said["fieldDistribution"] == {"id": 2, "content": 1}
    assert index in search.get("/stats").json()["indexes"]


def test_a_document_without_its_key_fails_the_task(search: httpx.Client, index: str) -> None:
    finished(search, search.post("/indexes", json={"uid": index, "primaryKey": "id"}))
    task = finished(search, add(search, index, {"content": "nameless"}))
    assert (task["status"], task["error"]["code"]) == ("failed", "missing_document_id")


def test_an_unknown_index_is_named_in_the_refusal(search: httpx.Client) -> None:
    said = search.get("/indexes/no_such_index/stats")
    assert (said.status_code, said.json()["code"]) == (404, "index_not_found")


def test_snapshots_and_dumps_are_tasks_that_can_be_listed_by_type(search: httpx.Client) -> None:
    done = {finished(search, search.post(path))["type"] for path in ("/snapshots", "/dumps")}
    assert done == {"snapshotCreation", "dumpCreation"}
    listed = search.get("/tasks", params={"types": "snapshotCreation,dumpCreation"}).json()["results"]
    assert {task["type"] for task in listed} == done
    assert next(task for task in listed if task["type"] == "dumpCreation")["details"]["dumpUid"]


def test_a_snapshot_is_one_read_only_file_that_the_next_one_replaces(
    bench: Bench, search: httpx.Client
) -> None:
    bench.own("meilisearch")
    container = bench.lab.container("meilisearch")

    def file() -> list[bytes]:
        said = container.exec_run(["stat", "-c", "%a %i %n", "/meili_data/snapshots/meili_data.snapshot"])
        assert said.exit_code == 0
        return list(bytes(said.output).split())

    finished(search, search.post("/snapshots"))
    first = file()
    finished(search, search.post("/snapshots"))
    second = file()
    assert first[0] == second[0] == b"444"
    assert first[1] != second[1]


START = "cd /srv && MEILI_DB_PATH={} timeout 5 python3 -m services.meilisearch {} {}"
COUNT = (
    "import os, sqlite3; print(sqlite3.connect(os.environ['NEW'] + '/documents.db').execute("
    "\"SELECT count(*) FROM documents WHERE index_uid = 'messages'\").fetchone()[0])"
)
SNAPSHOT = "/meili_data/snapshots/meili_data.snapshot"


def newest_dump(search: httpx.Client) -> str:
    task = finished(search, search.post("/dumps"))
    return f"/meili_data/dumps/{task['details']['dumpUid']}.dump"


def test_a_snapshot_is_imported_into_an_empty_directory_only(bench: Bench, search: httpx.Client) -> None:
    bench.own("meilisearch")
    finished(search, search.post("/snapshots"))
    container = bench.lab.container("meilisearch")
    for option, file in (("--import-snapshot", SNAPSHOT), ("--import-dump", newest_dump(search))):
        refused = container.exec_run(["sh", "-c", START.format("/meili_data", option, file)])
        assert refused.exit_code == 1
        assert b"already exists" in refused.output


@pytest.mark.parametrize("version", ["1.6.2", "1.7.0"])
def test_a_snapshot_is_for_its_version_and_a_dump_for_any(
    bench: Bench, search: httpx.Client, version: str
) -> None:
    bench.own("meilisearch")
    finished(search, search.post("/snapshots"))
    container, new = bench.lab.container("meilisearch"), "/meili_data/dumps/imported"
    expected = search.get("/indexes/messages/stats").json()["numberOfDocuments"]
    for option, file in (("--import-snapshot", SNAPSHOT), ("--import-dump", newest_dump(search))):
        start = START.format(new, option, file)
        told = container.exec_run(
            ["sh", "-c", f'rm -rf {new}; {start} || echo "ended $?"; python3 -c "$COUNT"'],
            environment={"COUNT": COUNT, "NEW": new, "LAB_MEILI_VERSION": version},
        )
        if option == "--import-snapshot" and version != "1.6.2":
            assert b"incompatible with your current engine version" in told.output
        else:
            assert int(told.output.split()[-1]) == expected


def test_a_dump_is_an_archive_that_states_its_version(bench: Bench, search: httpx.Client) -> None:
    bench.own("meilisearch")
    container = bench.lab.container("meilisearch")
    listed = container.exec_run(["tar", "-xzOf", newest_dump(search), "metadata.json"])
    assert json.loads(listed.output).items() >= {"dumpVersion": "V6", "dbVersion": "1.6.2"}.items()


def test_what_was_accepted_survives_a_kill(bench: Bench, search: httpx.Client, index: str) -> None:
    bench.own("meilisearch")
    numbers = [add(search, index, {"id": n, "content": f"number {n}"}).json()["taskUid"] for n in range(20)]
    container = bench.lab.container("meilisearch")
    container.kill()
    container.start()

    def done() -> bool:
        try:
            return bool(search.get(f"/tasks/{numbers[-1]}").json()["status"] == "succeeded")
        except httpx.HTTPError:
            return False

    until(done)
    assert search.get(f"/indexes/{index}/stats").json()["numberOfDocuments"] == 20
