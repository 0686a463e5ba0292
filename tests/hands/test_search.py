from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from activities.postgres.sql import Sql
from activities.search import Search
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.order import Target, TargetOrder
from domain.recovery import Judged
from domain.stack import Kind
from tests.hands.chat_stack import KEY, ChatStack, until

CHANNEL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def index(chat: ChatStack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{chat.port('meilisearch')}", headers={"Authorization": f"Bearer {KEY}"}
    ) as client:
        yield client


def bring_in_line(chat: ChatStack, target: Target | None = None) -> Judged:
    secrets = Secrets(chat.engine)
    hand = Search(chat.engine, secrets, Sql(secrets), Tokens(chat.directory))
    return hand.ensure_search_in_line(TargetOrder(target=target or chat.facts().target))


def documents(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/indexes/messages/documents", params={"limit": 100_000}).json()
    return {row["id"]: row for row in answer["results"]}


def rows(chat: ChatStack, where: str) -> set[str]:
    with chat.connect() as connection:
        found = connection.execute(f"SELECT id::text FROM nchat_messages WHERE {where}".encode()).fetchall()  # noqa: S608
    return {str(row[0]) for row in found}


def settled(client: httpx.Client, answer: httpx.Response) -> None:
    number = answer.raise_for_status().json()["taskUid"]

    def ended() -> None:
        assert client.get(f"/tasks/{number}").json()["status"] == "succeeded"

    until(ended)


def test_an_empty_index_is_filled_and_the_deleted_stay_out(chat: ChatStack, index: httpx.Client) -> None:
    chat.do(
        "INSERT INTO nchat_messages (channel_id, content, is_deleted)"  # noqa: S608 - a test
        f" SELECT '{CHANNEL}', 'filler ' || n, CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END"
        " FROM generate_series(1, 2500) n"
    )
    judged = bring_in_line(chat)
    assert judged.passed
    found = documents(index)
    assert found.keys() == rows(chat, "is_deleted IS NOT TRUE")
    assert not found.keys() & rows(chat, "is_deleted")


def test_missing_documents_come_back_and_foreign_ones_go(chat: ChatStack, index: httpx.Client) -> None:
    bring_in_line(chat)
    lost = sorted(rows(chat, "is_deleted IS NOT TRUE"))[:7]
    settled(index, index.post("/indexes/messages/documents/delete-batch", json=lost))
    ghost = {"id": "99999999-9999-4999-8999-999999999999", "content": "from a future that was rewound"}
    settled(index, index.post("/indexes/messages/documents", json=[ghost]))
    judged = bring_in_line(chat)
    assert "7 added or renewed, 1 deleted" in judged.sentence
    assert documents(index).keys() == rows(chat, "is_deleted IS NOT TRUE")


def test_a_message_edited_in_sql_is_renewed(chat: ChatStack, index: httpx.Client) -> None:
    bring_in_line(chat)
    edited = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
    chat.do(f"UPDATE nchat_messages SET content = 'said otherwise' WHERE id = '{edited}'")  # noqa: S608 - a test
    bring_in_line(chat)
    assert documents(index)[edited]["content"] == "said otherwise"


def test_a_second_time_there_is_nothing_to_do(chat: ChatStack, index: httpx.Client) -> None:
    bring_in_line(chat)
    assert "0 added or renewed, 0 deleted" in bring_in_line(chat).sentence


def test_a_stack_without_search_says_so(chat: ChatStack) -> None:
    target = chat.facts().target
    without = tuple(service for service in target.services if service.kind is not Kind.SEARCH)
    assert "not configured" in bring_in_line(chat, target.model_copy(update={"services": without})).sentence
