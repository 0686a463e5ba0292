import httpx
import pytest

from activities.hasura import Hasura
from activities.secrets import Secrets
from domain.errors import Unavailable, VerificationFailed
from domain.order import TargetOrder
from domain.recovery import Judged
from tests.hands.chat_stack import ADMIN, ChatStack


def verify(chat: ChatStack) -> Judged:
    return Hasura(chat.engine, Secrets(chat.engine)).verify_metadata(TargetOrder(target=chat.facts().target))


def exported(chat: ChatStack) -> object:
    answer = httpx.post(
        f"http://127.0.0.1:{chat.port('hasura')}/v1/metadata",
        json={"type": "export_metadata", "args": {}},
        headers={"X-Hasura-Admin-Secret": ADMIN},
    )
    return answer.json()


def test_metadata_that_fits_the_database_passes(chat: ChatStack) -> None:
    judged = verify(chat)
    assert judged.passed
    assert [proof.passed for proof in judged.proofs] == [True]


def test_a_tracked_table_that_is_gone_is_named_and_nothing_is_dropped(chat: ChatStack) -> None:
    chat.do("ALTER TABLE nchat_messages RENAME TO nchat_messages_elsewhere")
    before = exported(chat)
    try:
        with pytest.raises(VerificationFailed, match="nchat_messages") as error:
            verify(chat)
        assert error.value.code == "hasura-inconsistent"
        assert exported(chat) == before
    finally:
        chat.do("ALTER TABLE nchat_messages_elsewhere RENAME TO nchat_messages")
    assert verify(chat).passed


def test_a_hasura_that_does_not_answer_is_tried_again_later(chat: ChatStack) -> None:
    chat.client.api.pause(chat.container("hasura"))
    try:
        hand = Hasura(chat.engine, Secrets(chat.engine))
        order = TargetOrder(target=chat.facts().target)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("activities.hasura._SECONDS", 1.0)
            with pytest.raises(Unavailable):
                hand.verify_metadata(order)
    finally:
        chat.client.api.unpause(chat.container("hasura"))


def test_the_admin_secret_is_in_no_answer(chat: ChatStack) -> None:
    assert ADMIN not in verify(chat).model_dump_json()
