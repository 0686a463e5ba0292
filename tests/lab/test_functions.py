"""Sending a message goes through Redis, PostgreSQL and search, all behind the proxy."""

import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.lab.bench import Bench, until

CHANNEL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def user(bench: Bench) -> Iterator[httpx.Client]:
    with bench.client("proxy") as client:
        client.headers["Authorization"] = f"Bearer {bench.token()}"
        yield client


def send(user: httpx.Client, content: str) -> httpx.Response:
    return user.post("/functions/message-send", json={"channel_id": CHANNEL, "content": content})


def indexed(bench: Bench, message: str) -> bool:
    headers = {"Authorization": f"Bearer {bench.env['MEILI_MASTER_KEY']}"}
    with bench.client("meilisearch") as client:
        return client.get(f"/indexes/messages/documents/{message}", headers=headers).status_code == 200


def test_an_acknowledged_message_is_stored_and_found(bench: Bench, user: httpx.Client) -> None:
    said = send(user, "an acknowledged message")
    assert said.status_code == 200
    message = said.json()["id"]
    assert said.json().keys() == {"id", "channel_id", "created_at"}
    assert bench.sql("SELECT content FROM nchat_messages WHERE id = %s", message) == [
        ("an acknowledged message",)
    ]
    assert user.get(f"/functions/messages/{message}").json()["content"] == "an acknowledged message"
    until(lambda: indexed(bench, message))


def test_a_stranger_sends_nothing(bench: Bench) -> None:
    with bench.client("proxy") as client:
        assert send(client, "from nobody").status_code == 401


def test_without_redis_nothing_is_acknowledged_or_stored(bench: Bench, user: httpx.Client) -> None:
    content = f"lost {secrets.token_hex(8)}"
    with bench.stopped("redis"):
        assert send(user, content).status_code == 503
    assert bench.sql("SELECT count(*) FROM nchat_messages WHERE content = %s", content) == [(0,)]
    until(lambda: send(user, "after the queue came back").status_code == 200)


def test_without_the_database_nothing_is_acknowledged(bench: Bench, user: httpx.Client) -> None:
    with bench.stopped("postgres"):
        assert send(user, "never stored").status_code == 503
    until(lambda: send(user, "after the database came back").status_code == 200)


def test_without_search_a_message_is_acknowledged_and_indexed_later(bench: Bench, user: httpx.Client) -> None:
    with bench.stopped("meilisearch"):
        said = send(user, "indexed later")
        assert said.status_code == 200
    until(lambda: indexed(bench, said.json()["id"]))


def test_a_file_comes_back_as_it_was_and_not_without_the_store(bench: Bench, user: httpx.Client) -> None:
    content = secrets.token_bytes(3000)
    said = user.post("/functions/upload?filename=a.bin", content=content).json()
    assert user.get(f"/functions/files/{said['id']}").content == content
    with bench.stopped("minio"):
        assert user.get(f"/functions/files/{said['id']}").status_code == 503
    until(lambda: user.get(f"/functions/files/{said['id']}").content == content)
