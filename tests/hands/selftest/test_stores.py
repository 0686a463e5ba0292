"""The self-test of the other stores on small servers of a chat stack's images."""

from pathlib import Path

import pytest

from activities.postgres.sql import Sql
from activities.secrets import Secrets
from activities.selftest.hands import SelfTest
from activities.selftest.network import Networks
from activities.tokens import Tokens
from domain.holdings import compare_holdings
from domain.order import TargetOrder
from domain.recovery import Proof
from domain.selftest import Verdict
from domain.stack import Kind
from tests.hands.chat_stack import ChatStack
from tests.hands.selftest.test_selftest import left_of, survivors


@pytest.fixture
def hands(chat: ChatStack, state: Path) -> SelfTest:
    sql = Sql(Secrets(chat.engine))
    return SelfTest(chat.engine, Networks(chat.client), sql, Tokens(state), state)


@pytest.mark.mutant("M20")
def test_every_mutant_of_objects_keys_and_documents_is_killed(
    chat: ChatStack, hands: SelfTest, state: Path
) -> None:
    target = chat.facts().target
    tested = hands.verify_checks_of_stores(TargetOrder(target=target))
    assert not survivors(tested), "\n".join(survivors(tested))
    assert {row.mutant for row in tested.mutants} == {"M20", "M21"}
    assert len(tested.mutants) == 7
    assert len(tested.controls) == 3
    assert left_of(chat.client, target.stack, state) == []


@pytest.mark.mutant("M21")
def test_a_comparison_that_sees_nothing_lets_its_mutants_live(
    chat: ChatStack, hands: SelfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(*_: object) -> tuple[Proof, ...]:
        return (Proof(name="contents", passed=True, evidence="all is well"),)

    assert compare_holdings is not blind
    monkeypatch.setattr("activities.selftest.store_trials.compare_holdings", blind)
    target = chat.facts().target
    only = target.model_copy(
        update={"services": tuple(one for one in target.services if one.kind is Kind.REDIS)}
    )
    tested = hands.verify_checks_of_stores(TargetOrder(target=only))
    verdicts = {row.check.rpartition(" ")[2]: row.verdict for row in tested.mutants}
    assert verdicts["redis"] is Verdict.LIVED
    assert verdicts["objects"] is Verdict.NO_STORE
    assert verdicts["search"] is Verdict.NO_STORE
    assert all(row.passed for row in tested.controls)
