"""The self-test of the other stores on small servers of a chat stack's images, by the hands of every day."""

from pathlib import Path
from typing import Any

import pytest

from activities import objects_proof, redis_contents, search_proof
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.selftest.hands import SelfTest
from activities.selftest.network import Networks
from activities.tokens import Tokens
from domain.order import TargetOrder
from domain.recovery import Proof
from domain.selftest import Tried, Verdict
from domain.stack import Kind
from tests.hands.chat_stack import ChatStack
from tests.hands.selftest.test_selftest import left_of, survivors
from worker.far_store import s3_client

FORMS = {Kind.OBJECTS: ("M20", 3, 1), Kind.REDIS: ("M21", 2, 1), Kind.SEARCH: ("M21", 4, 2)}
"""Of each store its mutant, and how many forms and controls are tried."""


@pytest.fixture
def hands(chat: ChatStack, state: Path) -> SelfTest:
    kept = Secrets(chat.engine)
    return SelfTest(
        chat.engine,
        Networks(chat.client),
        Sql(kept),
        Tokens(state),
        state,
        secrets=kept,
        connect=s3_client,
    )


def tried(chat: ChatStack, hands: SelfTest, kind: Kind) -> Tried:
    """Try the one store alone."""
    target = chat.facts().target
    only = target.model_copy(update={"services": tuple(one for one in target.services if one.kind is kind)})
    tested = hands.verify_checks_of_stores(TargetOrder(target=only))
    other = [row for row in tested.mutants if row.verdict is Verdict.NO_STORE]
    assert {row.check.rpartition(" ")[2] for row in other} == {one.value for one in FORMS} - {kind.value}
    return tested.model_copy(update={"mutants": tuple(row for row in tested.mutants if row not in other)})


@pytest.mark.mutant("M20")
@pytest.mark.mutant("M21")
@pytest.mark.parametrize("kind", FORMS)
def test_every_mutant_of_objects_keys_and_documents_is_killed(
    chat: ChatStack, hands: SelfTest, state: Path, kind: Kind
) -> None:
    mutant, forms, controls = FORMS[kind]
    tested = tried(chat, hands, kind)
    assert not survivors(tested), "\n".join(survivors(tested))
    assert {row.mutant for row in tested.mutants} == {mutant}
    assert all(row.seen for row in tested.mutants)
    assert (len(tested.mutants), len(tested.controls)) == (forms, controls)
    assert left_of(chat.client, chat.facts().target.stack, state) == []


@pytest.mark.mutant("M20")
@pytest.mark.mutant("M21")
@pytest.mark.parametrize(
    ("kind", "module"),
    [(Kind.OBJECTS, objects_proof), (Kind.REDIS, redis_contents), (Kind.SEARCH, search_proof)],
)
@pytest.mark.long
def test_a_proof_that_compares_nothing_lets_its_mutants_live(
    chat: ChatStack, hands: SelfTest, monkeypatch: pytest.MonkeyPatch, kind: Kind, module: Any
) -> None:
    def blind(*_: object, **__: object) -> tuple[Proof, ...]:
        return (Proof(name="contents", passed=True, evidence="all is well"),)

    assert module.compare_holdings is not blind
    monkeypatch.setattr(module, "compare_holdings", blind)
    tested = tried(chat, hands, kind)
    assert {row.verdict for row in tested.mutants} == {Verdict.LIVED}
    assert all(row.passed for row in tested.controls)
