"""The branches of the runbook whose histories are kept, each as a play of a few lines."""

from collections.abc import Awaitable, Callable
from typing import Any

from domain.backups import BackupChoice
from domain.diagnosis import Verdict
from domain.errors import Refused
from domain.far_choice import Recalled
from domain.ledger import Loss, MeasuredLoss, StoreLoss
from domain.reindexing import Reindexed
from tests.runbooks.conftest import Bench, assessment
from tests.runbooks.test_index_damage import INDEX, in_turn, lying
from tests.runbooks.test_recalled import NEWER, OLDER, shelf_lost

Handle = Any
Play = Callable[[Bench], Awaitable[Handle]]


async def approve(bench: Bench, handle: Handle) -> None:
    """Approve the open gate as a person does who read the brief."""
    view = await bench.until(handle, "gate")
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})


async def living_server_recovered(bench: Bench) -> Handle:
    """The server answers until the decision."""
    handle = await bench.start()
    await approve(bench, handle)
    return handle


async def dead_server_recovered(bench: Bench) -> Handle:
    """The server is closed before people are asked."""
    bench.hands.assess(Verdict.CORRUPT, answers=False)
    handle = await bench.start()
    await approve(bench, handle)
    return handle


async def stood_down(bench: Bench) -> Handle:
    """The database is healthy."""
    bench.hands.assess(Verdict.SOUND)
    return await bench.start()


async def parked_and_retried(bench: Bench) -> Handle:
    """A hand refuses once; a person says retry."""
    bench.hands.fail("ensure_restored", Refused("no room", code="no-room"), times=1)
    handle = await bench.start()
    await bench.until(handle, "needs_human")
    await handle.signal("retry", {"by": "an operator"})
    await approve(bench, handle)
    return handle


async def parked_and_skipped(bench: Bench) -> Handle:
    """The search index cannot be brought in line; a person skips the step."""
    bench.hands.fail("ensure_search_in_line", Refused("no index", code="no-index"))
    handle = await bench.start()
    await approve(bench, handle)
    await bench.until(handle, "needs_human")
    await handle.signal("skip", {"by": "an operator", "reason": "by hand later"})
    return handle


async def no_backup_then_aborted(bench: Bench) -> Handle:
    """Nothing can be restored; a person ends the run."""
    none = BackupChoice(backup=None, sentence="no usable backup", missing="take one")
    bench.hands.answer("choose_backup", lambda _: none)
    handle = await bench.start()
    await bench.until(handle, "needs_human")
    await handle.execute_update("decide", {"verb": "abort", "by": "an operator", "reason": "no backup"})
    return handle


async def fetched_from_off_site(bench: Bench) -> Handle:
    """The shelf holds nothing; a far copy is damaged, the next older one is fetched and restored."""
    shelf_lost(bench)
    problems = ["it is damaged", ""]
    bench.hands.answer("choose_offsite", lambda _: NEWER if len(problems) > 1 else OLDER)
    bench.hands.answer("ensure_recalled", lambda o: Recalled(id=o.entry_id, problem=problems.pop(0)))
    handle = await bench.start()
    await approve(bench, handle)
    return handle


async def rejected(bench: Bench) -> Handle:
    """People say no at the gate."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.signal("reject", {"gate": view.gate, "by": "an approver", "reason": "not now"})
    return handle


async def asked_again(bench: Bench) -> Handle:
    """The loss got worse after the approval, which lapses."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    worse = Loss(postgres=StoreLoss(seconds=99.0, markers_lost=99, markers_acknowledged=100))
    bench.hands.answer("measure_loss", lambda _: MeasuredLoss(loss=worse))
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    while (await bench.until(handle, "gate")).digest == view.digest:
        pass
    await approve(bench, handle)
    return handle


async def held_and_resumed(bench: Bench) -> Handle:
    """A person holds the run between two steps."""
    handle = await bench.start()
    view = await bench.until(handle, "gate")
    await handle.execute_update("decide", {"verb": "hold", "by": "an operator", "reason": "phone call"})
    await handle.signal("approve", {"gate": view.gate, "digest": view.digest, "by": "an approver"})
    await bench.until(handle, "held")
    await handle.signal("resume", {"by": "an operator"})
    return handle


async def index_rebuilt(bench: Bench) -> Handle:
    """Only an index is damaged; it is rebuilt, and nobody is asked."""
    bench.hands.answer("assess_corruption", lambda _: lying(INDEX))
    return await bench.start()


async def index_then_restored(bench: Bench) -> Handle:
    """The rebuild of an index shows that its table is damaged; a backup is restored."""
    in_turn(bench, "assess_corruption", lying(INDEX), assessment(Verdict.CORRUPT))
    bench.hands.answer("ensure_reindexed", lambda _: Reindexed(table_damage="a page cannot be read"))
    handle = await bench.start()
    await approve(bench, handle)
    return handle


async def cancelled(bench: Bench) -> Handle:
    """Somebody cancels the run at the gate; it parks after the decision and is told to go on."""
    handle = await bench.start()
    await bench.until(handle, "gate")
    await handle.cancel()
    await approve(bench, handle)
    await bench.until(handle, "needs_human")
    await handle.signal("retry", {"by": "an operator", "reason": "go on"})
    return handle


BRANCHES: dict[str, tuple[Play, str]] = {
    "living_server_recovered": (living_server_recovered, "recovered"),
    "dead_server_recovered": (dead_server_recovered, "recovered"),
    "stood_down": (stood_down, "stood_down"),
    "parked_and_retried": (parked_and_retried, "recovered"),
    "parked_and_skipped": (parked_and_skipped, "recovered"),
    "no_backup_then_aborted": (no_backup_then_aborted, "aborted"),
    "fetched_from_off_site": (fetched_from_off_site, "recovered"),
    "rejected": (rejected, "aborted"),
    "asked_again": (asked_again, "recovered"),
    "held_and_resumed": (held_and_resumed, "recovered"),
    "index_rebuilt": (index_rebuilt, "recovered"),
    "index_then_restored": (index_then_restored, "recovered"),
    "cancelled": (cancelled, "recovered"),
}
"""Each branch with the outcome that its history ends in."""
