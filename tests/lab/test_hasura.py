"""Hasura: the same tests run against the real program with ``DR_LAB_HASURA_URL``."""

from typing import Any

import httpx

from tests.lab.bench import Bench

MESSAGE = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"


def call(bench: Bench, kind: str, **arguments: object) -> httpx.Response:
    headers = {"X-Hasura-Admin-Secret": bench.env["HASURA_ADMIN_SECRET"]}
    version = {"version": 2} if kind == "export_metadata" else {}
    with bench.client("hasura") as client:
        return client.post("/v1/metadata", json={"type": kind, "args": arguments, **version}, headers=headers)


def query(bench: Bench, text: str, headers: dict[str, str], **variables: str) -> dict[str, Any]:
    with bench.client("hasura") as client:
        said = client.post("/v1/graphql", json={"query": text, "variables": variables}, headers=headers)
    assert said.status_code == 200
    found: dict[str, Any] = said.json()
    return found


def health(bench: Bench, *, strict: bool) -> tuple[int, str]:
    with bench.client("hasura") as client:
        said = client.get("/healthz", params={"strict": "true"} if strict else {})
    return said.status_code, said.text


def test_consistent_metadata_is_healthy_even_strictly(bench: Bench) -> None:
    assert health(bench, strict=False) == (200, "OK")
    assert health(bench, strict=True)[0] == 200


def test_the_version_is_told(bench: Bench) -> None:
    with bench.client("hasura") as client:
        assert client.get("/v1/version").json()["version"].startswith("v2.")


def test_metadata_needs_the_admin_secret(bench: Bench) -> None:
    with bench.client("hasura") as client:
        said = client.post("/v1/metadata", json={"type": "export_metadata", "args": {}})
    assert said.status_code in {400, 401}
    assert "sources" not in said.json()


def test_an_export_has_the_version_of_the_resource_and_the_document(bench: Bench) -> None:
    said = call(bench, "export_metadata").json()
    assert said["resource_version"] >= 1
    assert "nchat_messages" in {entry["table"]["name"] for entry in said["metadata"]["sources"][0]["tables"]}


def test_each_change_raises_the_resource_version(bench: Bench) -> None:
    before = call(bench, "export_metadata").json()
    assert call(bench, "replace_metadata", metadata=before["metadata"]).status_code == 200
    assert call(bench, "export_metadata").json()["resource_version"] > before["resource_version"]


def test_a_tracked_table_that_is_gone_is_inconsistent_after_a_reload(bench: Bench) -> None:
    table = {"source": "default", "table": {"schema": "public", "name": "short_lived"}}
    bench.sql("CREATE TABLE short_lived (id int PRIMARY KEY)")
    try:
        call(bench, "reload_metadata", reload_sources=True)
        assert call(bench, "pg_track_table", **table).status_code == 200
        bench.sql("DROP TABLE short_lived")
        call(bench, "reload_metadata", reload_sources=True)
        said = call(bench, "get_inconsistent_metadata").json()
        lenient, strict = health(bench, strict=False), health(bench, strict=True)
    finally:
        bench.sql("CREATE TABLE IF NOT EXISTS short_lived (id int PRIMARY KEY)")
        call(bench, "reload_metadata", reload_sources=True)
        call(bench, "pg_untrack_table", **table)
        bench.sql("DROP TABLE short_lived")
    assert said["is_consistent"] is False
    assert "short_lived" in str(said["inconsistent_objects"])
    assert lenient[0] == 200
    assert lenient[1].startswith("WARN")
    assert strict[0] == 500
    assert call(bench, "get_inconsistent_metadata").json()["is_consistent"] is True


def test_inconsistent_metadata_is_taken_only_on_demand(bench: Bench) -> None:
    good = call(bench, "export_metadata").json()["metadata"]
    source = good["sources"][0]
    tables = [*source["tables"], {"table": {"schema": "public", "name": "no_such_table"}}]
    bad = good | {"sources": [source | {"tables": tables}]}
    assert call(bench, "replace_metadata", metadata=bad).status_code == 400
    try:
        taken = call(bench, "replace_metadata", metadata=bad, allow_inconsistent_metadata=True)
        assert taken.status_code == 200
        assert health(bench, strict=True)[0] == 500
    finally:
        call(bench, "replace_metadata", metadata=good)
    assert health(bench, strict=True)[0] == 200


def test_a_table_cannot_be_tracked_twice_nor_when_it_is_missing(bench: Bench) -> None:
    twice = call(bench, "pg_track_table", source="default", table={"schema": "public", "name": "nchat_users"})
    missing = call(
        bench, "pg_track_table", source="default", table={"schema": "public", "name": "no_such_table"}
    )
    assert (twice.status_code, twice.json()["code"]) == (400, "already-tracked")
    assert missing.status_code == 400


def test_a_signed_in_user_reads_messages(bench: Bench) -> None:
    who = {"Authorization": f"Bearer {bench.token()}"}
    text = "query($id: uuid!) { nchat_messages_by_pk(id: $id) { id content } }"
    assert query(bench, text, who, id=MESSAGE)["data"]["nchat_messages_by_pk"]["id"] == MESSAGE
    listed = query(
        bench,
        'query { nchat_messages(where: {id: {_eq: "'
        + MESSAGE
        + '"}}, limit: 1, order_by: {created_at: desc}) { id }'
        " nchat_messages_aggregate { aggregate { count } } }",
        {"X-Hasura-Admin-Secret": bench.env["HASURA_ADMIN_SECRET"]},
    )["data"]
    assert listed["nchat_messages"] == [{"id": MESSAGE}]
    expected = bench.sql("SELECT count(*) FROM nchat_messages")[0][0]
    assert listed["nchat_messages_aggregate"]["aggregate"]["count"] == expected


def test_a_user_sees_neither_untracked_tables_nor_those_without_permission(bench: Bench) -> None:
    who = {"Authorization": f"Bearer {bench.token()}"}
    for table in ("no_such_table", "nchat_audit_logs"):
        errors = query(bench, f"{{ {table} {{ id }} }}", who)["errors"]
        assert errors[0]["extensions"]["code"] == "validation-failed"


def test_a_bad_token_is_refused(bench: Bench) -> None:
    errors = query(bench, "{ nchat_users { id } }", {"Authorization": "Bearer nonsense"})["errors"]
    assert errors[0]["extensions"]["code"] == "invalid-jwt"


def test_without_a_database_health_is_500_and_queries_carry_errors(bench: Bench) -> None:
    bench.own("hasura")
    who = {"X-Hasura-Admin-Secret": bench.env["HASURA_ADMIN_SECRET"]}
    with bench.stopped("postgres"):
        assert health(bench, strict=False)[0] == 500
        assert query(bench, "{ nchat_users(limit: 1) { id } }", who)["errors"]
    assert query(bench, "{ nchat_users(limit: 1) { id } }", who)["data"]["nchat_users"]
