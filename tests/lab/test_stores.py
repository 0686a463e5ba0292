"""PostgreSQL, Redis, MinIO and the proxy: what the product may rely on in a stack of this shape."""

import pytest

from infra.lab.seed import object_bytes
from tests.lab.bench import Bench, until


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'nchat\\_%'", 36),
        ("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'tenant%'", 5),
        (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text ~ '^nchat_'",
            78,
        ),
        (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'u' AND conrelid::regclass::text ~ '^nchat_'",
            15,
        ),
        ("SELECT count(*) FROM pg_indexes WHERE tablename LIKE 'nchat\\_%'", 192),
        ("SELECT count(*) FROM pg_policies WHERE tablename LIKE 'nchat\\_%'", 79),
        ("SELECT count(*) FROM pg_class WHERE relname LIKE 'nchat\\_%' AND relrowsecurity", 36),
        ("SELECT count(*) FROM pg_constraint WHERE NOT convalidated", 0),
        ("SELECT count(*) FROM nchat_permissions", 24),
    ],
)
def test_the_schema_has_the_shape_of_the_original(bench: Bench, query: str, expected: int) -> None:
    assert bench.sql(query)[0][0] == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("wal_level", "replica"),
        ("archive_mode", "off"),
        ("data_checksums", "off"),
        ("max_connections", "200"),
        ("fsync", "on"),
        ("data_directory", "/var/lib/postgresql/data"),
    ],
)
def test_the_server_has_the_defaults_of_the_generator(bench: Bench, setting: str, expected: str) -> None:
    assert bench.sql(f"SHOW {setting}") == [(expected,)]


def test_no_replication_line_admits_anyone_from_the_network(bench: Bench) -> None:
    lines = bench.sql(
        "SELECT type, database, address FROM pg_hba_file_rules WHERE 'replication' = ANY (database)"
    )
    assert {line[2] for line in lines} <= {None, "127.0.0.1", "::1"}


def test_root_in_the_container_cannot_look_into_the_data_directory(bench: Bench) -> None:
    said = bench.lab.container("postgres").exec_run(["ls", "/var/lib/postgresql/data"], user="0")
    assert said.exit_code != 0


def test_every_container_is_confined_and_published_on_loopback_only(bench: Bench) -> None:
    for service in bench.lab.status():
        container = bench.lab.container(service)
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["PidsLimit"] == 100
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        bound = [one for ports in (host["PortBindings"] or {}).values() for one in ports]
        assert {one["HostIp"] for one in bound} == {"127.0.0.1"}
        assert str(container.name).startswith(bench.lab.settings.prefix)


def test_redis_keeps_an_append_only_file(bench: Bench) -> None:
    said = bench.lab.container("redis").exec_run(["redis-cli", "-e", "info", "persistence"])
    assert b"aof_enabled:1" in said.output


def test_the_object_store_answers_health_without_credentials(bench: Bench) -> None:
    with bench.client("minio") as client:
        assert client.get("/minio/health/live").status_code == 200
        assert client.get("/minio/health/cluster").status_code == 200


def test_every_attachment_has_its_object(bench: Bench) -> None:
    store = bench.lab.objects()
    rows = bench.sql(
        "SELECT id::text, file_path, size_bytes FROM nchat_attachments WHERE file_path LIKE %s", "%/seed/%"
    )
    assert rows
    for key, path, size in rows[:10]:
        bucket, _, name = str(path).partition("/")
        with store.get_object(bucket, name) as found:
            assert found.read() == object_bytes(str(key), int(str(size)))


def test_search_holds_every_message_that_is_not_deleted(bench: Bench) -> None:
    live = bench.sql("SELECT count(*) FROM nchat_messages WHERE is_deleted IS NOT TRUE")[0][0]
    headers = {"Authorization": f"Bearer {bench.env['MEILI_MASTER_KEY']}"}

    def counted() -> bool:
        with bench.client("meilisearch") as client:
            said = client.get("/indexes/messages/stats", headers=headers).json()
        return bool(said["numberOfDocuments"] == live)

    until(counted)


def test_the_proxy_finds_a_service_again_that_comes_back(bench: Bench) -> None:
    with bench.client("proxy") as client:
        assert client.get("/health").status_code == 200
        with bench.stopped("auth"):
            assert client.get("/v1/auth/healthz").status_code in {502, 504}
        until(lambda: client.get("/v1/auth/healthz").status_code == 200, 20)


def test_secrets_are_readable_by_their_owner_alone(bench: Bench) -> None:
    assert bench.lab.settings.env_file.stat().st_mode & 0o777 == 0o600
