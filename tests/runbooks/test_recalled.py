"""A shelf without a usable backup: what is fetched from off-site, what is parked, what people are told."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.backups import BackupChoice, PassedOver
from domain.errors import Refused, Unavailable
from domain.far_choice import FarChoice, Recalled
from domain.incident import RecoveryRequest
from domain.offsite import OffsitePolicy
from domain.order import Facts
from domain.recovery import LastWal
from tests.runbooks.conftest import BACKUP, STACK, TARGET, Bench

pytestmark = pytest.mark.timeout(60)

AFAR = OffsitePolicy.model_validate(
    {"bucket": "copies", "access_key": "env:FAR_ACCESS", "secret_key": "env:FAR_SECRET"}
)
NOTHING = BackupChoice(
    backup=None,
    sentence="no backup on /shelf can be used",
    none_usable=True,
    passed_over=(PassedOver(id="20260102T000000Z-base", reason="it is missing"),),
)
UNTIL = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
NEWER, OLDER = (
    FarChoice(
        entry_id=name,
        sentence=f"Backup {name} off-site",
        newest_segment="0" * 24,
        wal_until=UNTIL,
        passed_over=(PassedOver(id="20260103T000000Z-base", reason="it is of another database system"),),
    )
    for name in ("20260102T000000Z-base", "20260101T000000Z-base")
)
STOPPING = {"ensure_writers_stopped", "ensure_fenced", "ensure_last_wal", "ensure_restored"}


def shelf_lost(bench: Bench, *, afar: bool = True) -> None:
    """Let the shelf hold nothing until something was fetched."""
    stack = STACK.model_copy(update={"offsite": AFAR if afar else None})
    facts = Facts(stack=stack, stack_digest="d" * 64, target=TARGET)
    bench.hands.answer("observe_stack", lambda _: facts)

    def choose(_: Any) -> BackupChoice:
        return BackupChoice(backup=BACKUP, sentence="chosen") if fetched(bench) else NOTHING

    bench.hands.answer("choose_backup", choose)
    bench.hands.answer("choose_offsite", lambda _: NEWER)


def fetched(bench: Bench) -> bool:
    return "ensure_recalled" in bench.hands.called


def kept(bench: Bench, name: str, answer: Callable[[Any], Any]) -> list[Any]:
    """Let a hand answer, and keep its orders."""
    orders: list[Any] = []

    def noting(order: Any) -> Any:
        orders.append(order)
        return answer(order)

    bench.hands.answer(name, noting)
    return orders


async def approve(handle: Any, view: Any) -> None:
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})


async def test_a_lost_shelf_is_filled_from_off_site_and_the_recovery_goes_on(bench: Bench) -> None:
    shelf_lost(bench)
    looks = kept(bench, "choose_offsite", lambda _: NEWER)
    fetches = kept(
        bench, "ensure_recalled", lambda o: Recalled(id=o.entry_id, segments=7, sentence="it is back")
    )
    drained = kept(
        bench,
        "ensure_last_wal",
        lambda _: LastWal(
            target_lsn=None,
            replayed_lsn="0/4",
            source="salvaged pg_wal",
            server_stopped_cleanly=True,
            sentence="everything to 0/4",
        ),
    )
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    (look,), (fetch,) = looks, fetches
    assert (look.policy, fetch.entry_id, fetch.instead) == (AFAR, NEWER.entry_id, True)
    assert any("came from off-site" in fact and "2026-01-02 02:00:00Z" in fact for fact in view.brief)
    assert any("The shelf of lab holds no usable backup" in said for said in bench.hands.said)
    await approve(handle, view)
    assert (await handle.result()).outcome == "recovered"
    assert drained[0].gap_ends is True
    lines = "\n".join((await handle.query("status"))["lines"])
    assert lines.index("Look for a backup off-site") < lines.index("Fetch the backup from off-site")


async def test_without_a_lost_shelf_nobody_looks_off_site_and_a_gap_is_no_end(bench: Bench) -> None:
    drained = kept(bench, "ensure_last_wal", bench.hands.answers["ensure_last_wal"][1])
    handle = await bench.start()
    await approve(handle, await bench.until(handle, "gate"))
    await handle.result()
    assert "choose_offsite" not in bench.hands.called
    assert drained[0].gap_ends is False


async def test_a_far_copy_that_is_damaged_is_passed_over_for_the_next_older(bench: Bench) -> None:
    shelf_lost(bench)
    problems = ["PG_VERSION is not what its manifest says", ""]
    excluded: list[tuple[str, ...]] = []

    def look(order: Any) -> FarChoice:
        excluded.append(tuple(one.id for one in order.excluded))
        return NEWER if len(excluded) == 1 else OLDER

    bench.hands.answer("choose_offsite", look)
    bench.hands.answer("choose_backup", lambda _: NOTHING if problems else BackupChoice(backup=BACKUP))
    bench.hands.answer("ensure_recalled", lambda o: Recalled(id=o.entry_id, problem=problems.pop(0)))
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert NEWER.entry_id not in excluded[0]
    assert NEWER.entry_id in excluded[1]
    assert bench.hands.called.count("choose_backup") == 2


async def test_a_fetched_copy_that_the_choice_refuses_is_passed_over_too(bench: Bench) -> None:
    shelf_lost(bench)
    looks = kept(bench, "choose_offsite", lambda _: NEWER if len(looks) == 1 else OLDER)
    gap = PassedOver(id=NEWER.entry_id, reason="its WAL is not whole")

    def choose(_: Any) -> BackupChoice:
        if len(looks) == 1:
            return NOTHING.model_copy(update={"passed_over": (gap,)})
        return BackupChoice(backup=BACKUP) if len(looks) == 2 else NOTHING

    bench.hands.answer("choose_backup", choose)
    handle = await bench.start()
    await bench.until(handle, "gate")
    reasons = {one.id: one.reason for one in looks[1].excluded}
    assert reasons[NEWER.entry_id] == "fetched, and not usable: its WAL is not whole"


@pytest.mark.parametrize("afar", [True, False], ids=["nothing usable off-site", "no off-site store"])
async def test_without_a_copy_anywhere_the_run_parks_with_what_is_missing(
    bench: Bench, *, afar: bool
) -> None:
    shelf_lost(bench, afar=afar)
    bench.hands.answer(
        "choose_offsite", lambda _: FarChoice(missing="The off-site store cannot be used: the key k1 is gone")
    )
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert view.parked_code == "no-backup"
    assert "no backup on /shelf can be used" in view.parked_reason
    wanted = "the key k1 is gone" if afar else "names no off-site store"
    assert wanted in view.parked_reason
    assert not STOPPING & set(bench.hands.called)
    assert not fetched(bench)
    # Somebody brings one to the shelf by hand.
    bench.hands.answer("choose_backup", lambda _: BackupChoice(backup=BACKUP))
    await handle.signal("retry", {"by": "an operator"})
    await bench.until(handle, "gate")


async def test_no_room_for_the_fetch_parks_before_anything_is_stopped(bench: Bench) -> None:
    shelf_lost(bench)
    bench.hands.fail("ensure_recalled", Refused("no room for it: 9 GB needed", code="no-room"), times=1)
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert (view.parked_step, view.parked_code) == ("ensure_recalled", "no-room")
    assert not STOPPING & set(bench.hands.called)
    await handle.signal("retry", {"by": "an operator"})
    await bench.until(handle, "gate")


async def test_a_far_store_that_stays_away_parks_and_a_person_may_go_on_without_it(bench: Bench) -> None:
    shelf_lost(bench)
    bench.hands.fail("choose_offsite", Refused("the store is away for good", code="offsite-unavailable"))
    handle = await bench.start()
    view = await bench.until(handle, "needs_human")
    assert view.parked_step == "choose_offsite"
    assert view.skippable
    await handle.signal("skip", {"by": "an operator", "reason": "it burnt down"})
    while (view := await bench.until(handle, "needs_human")).parked_step == "choose_offsite":
        pass
    assert view.parked_code == "no-backup"
    assert "skipped by a person" in view.parked_reason
    assert not STOPPING & set(bench.hands.called)


async def test_passing_trouble_of_the_fetch_is_tried_again(bench: Bench) -> None:
    shelf_lost(bench)
    bench.hands.fail("ensure_recalled", Unavailable("cut", code="offsite-unavailable"), times=2)
    handle = await bench.start()
    await bench.until(handle, "gate")
    assert bench.hands.called.count("ensure_recalled") == 3


async def test_a_plan_says_which_far_copy_would_be_fetched_and_fetches_nothing(bench: Bench) -> None:
    shelf_lost(bench)
    result = await (await bench.start(RecoveryRequest(mode="plan"), "plan/lab/1")).result()
    assert result.rule.startswith("Plan only, nothing was changed.")
    assert NEWER.sentence in result.rule
    assert not fetched(bench)
