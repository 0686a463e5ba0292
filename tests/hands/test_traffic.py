from datetime import timedelta

import pytest

from activities.secrets import Secrets
from activities.traffic import JourneyOrder, Traffic
from domain.errors import Refused, VerificationFailed
from domain.recovery import Judged
from domain.stack import Call, UserJourney
from tests.hands.chat_stack import PASSWORD, ChatStack


def walk(chat: ChatStack, journey: UserJourney | None = None) -> Judged:
    facts = chat.facts()
    hand = Traffic(chat.engine, Secrets(chat.engine))
    return hand.verify_user_journey(JourneyOrder(target=facts.target, journey=journey or facts.stack.journey))


def changed(chat: ChatStack, name: str, **values: object) -> UserJourney:
    journey = chat.facts().stack.journey
    calls = tuple(
        call.model_copy(update={"within": timedelta(seconds=1), **values}) if call.name == name else call
        for call in journey.calls
    )
    return journey.model_copy(update={"calls": calls})


def test_a_user_signs_in_sends_reads_searches_and_fetches(chat: ChatStack) -> None:
    seen = walk(chat)
    assert seen.passed
    assert [(proof.name, proof.passed) for proof in seen.proofs] == [
        ("sign in", True),
        ("send", True),
        ("read back", True),
        ("search", True),
        ("upload a file", True),
        ("fetch a file", True),
    ]


def test_no_secret_and_no_token_is_in_a_proof(chat: ChatStack) -> None:
    told = walk(chat).model_dump_json()
    assert PASSWORD not in told
    assert "eyJ" not in told


def test_the_first_call_that_never_becomes_right_is_named(chat: ChatStack) -> None:
    journey = changed(chat, "read back", expect_text="something that nobody wrote")
    with pytest.raises(VerificationFailed, match="a user cannot read back") as error:
        walk(chat, journey)
    assert error.value.code == "journey-failed"
    assert "worked before it: sign in, send" in str(error.value)


def test_a_wrong_password_is_a_failed_journey_that_does_not_tell_it(chat: ChatStack) -> None:
    journey = changed(chat, "sign in", body={"email": "user@nself.org", "password": "wrong-and-secret"})
    with pytest.raises(VerificationFailed, match="status 401 instead of 200") as error:
        walk(chat, journey)
    assert "wrong-and-secret" not in str(error.value)


def test_an_answer_without_the_value_to_keep_is_wrong(chat: ChatStack) -> None:
    with pytest.raises(VerificationFailed, match=r"the answer has no session\.nothing"):
        walk(chat, changed(chat, "sign in", capture={"token": "session.nothing"}))


def test_a_secret_that_is_not_named_is_refused(chat: ChatStack) -> None:
    call = Call(name="look", path="/{secret:unheard}", method="GET")
    with pytest.raises(Refused, match="unheard"):
        walk(chat, UserJourney(calls=(call,)))


def test_a_stack_without_a_journey_has_proven_nothing(chat: ChatStack) -> None:
    assert not walk(chat, UserJourney()).passed
