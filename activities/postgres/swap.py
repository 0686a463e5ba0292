"""Exchanges the data directories of the live and the restored volume in one rename."""

from pathlib import Path
from typing import Any

from temporalio import activity

from activities.engine import Engine, Job
from activities.in_use import refuse_if_in_use
from activities.postgres.one_shot import below, facts, labels, prove, run
from activities.records import Records
from activities.tokens import Tokens
from activities.volume_pair import (
    KILOBYTE,
    STRANGE,
    UNFIT,
    Ready,
    ensure_kept,
    exchange_job,
    pair_of,
    refuse_unplain,
    strange,
)
from domain.errors import Refused, Unavailable
from domain.exchange import SwapOrder, Swapped, SwapSettled
from domain.names import LABEL_RECOVERY, container_name

KIND = "swap"
_MUST_AGREE = (("device", "filesystem"), ("owner", "owner and mode"))
# $1 is PGDATA in its volume: that of a cleanly stopped server which no longer follows anybody.
_PROMOTED = """
[ -e "$restored/$1/PG_VERSION" ] && [ ! -e "$restored/$1/standby.signal" ] \\
    && [ ! -e "$restored/$1/recovery.signal" ] && [ ! -e "$restored/$1/postmaster.pid" ] || exit 22
"""


class Swapping:
    """The one irreversible-looking moment, which is its own inverse and done exactly once."""

    def __init__(self, engine: Engine, tokens: Tokens, state: Path, tools_image: str) -> None:
        """Act through these clients; ``tools_image`` has ``mv --exchange``; ``state`` is DR_STATE."""
        self._engine = engine
        self._tokens = tokens
        self._records = Records(state)
        self._tools_image = tools_image

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_swapped_in(self, order: SwapOrder) -> Swapped:
        """Have the restored data in the live volume and the old data in the other one.

        Decided by the two inodes recorded before the first attempt; they travel with the exchange.
        Raises ``Refused`` when anything is not as it must be; then nothing was exchanged.
        """
        self._tokens.admit(order, order.target.stack)
        record = self._records.read(KIND, order.recovery_id)
        if record is not None and record["restored_volume"] != order.restored_volume:
            if "kept_bytes" in record:
                raise _strange(order)
            self._records.remove(KIND, order.recovery_id)  # an earlier attempt, which exchanged nothing
            record = None
        if record is None:
            record = self._prepare(order)
        if "kept_bytes" not in record:
            said = self._exchange(order, record)
            record |= {"kept_bytes": int(said["kept_bytes"]) * KILOBYTE}
            self._records.write(KIND, order.recovery_id, record)
        elif self._look(order, record)["state"] != "swapped":
            raise _strange(order)
        kept = int(record["kept_bytes"])
        return Swapped(
            kept_volume=order.restored_volume,
            kept_bytes=kept,
            keeper=container_name(order.recovery_id, "keeper"),
            sentence=f"The restored data is in {order.target.postgres.volume};"
            f" the old data ({kept / 1e6:,.0f} MB) is kept in {order.restored_volume}",
        )

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_swap_settled(self, order: SwapOrder) -> SwapSettled:
        """Find out by the inodes whether the exchange took place; where it did not, take its traces away.

        For a run that people end while the exchange has not answered. An exchange is never made or
        taken back here. Raises ``Refused`` when one of the directories is a strange one.
        """
        self._tokens.admit(order, order.target.stack)
        record = self._records.read(KIND, order.recovery_id)
        state = "before" if record is None else self._look(order, record)["state"]
        if state == "swapped":
            swapped = self.ensure_swapped_in(order)
            return SwapSettled(swapped=swapped, sentence=f"The exchange took place. {swapped.sentence}")
        if state != "before" or (record is not None and "kept_bytes" in record):
            raise _strange(order)
        # As long as there are both, a record and a keeper, the volume counts as a kept one.
        self._records.remove(KIND, order.recovery_id)
        for what in ("swap", "look", "keeper"):
            self._engine.remove(container_name(order.recovery_id, what), force=True)
        return SwapSettled(
            sentence=f"Nothing was exchanged: {order.target.postgres.volume} holds what it held before"
        )

    def _prepare(self, order: SwapOrder) -> dict[str, Any]:
        """Check all that must agree, and record the two inodes on disk before anything moves."""
        self._may_exchange(order)
        refuse_unplain(self._engine, order.target.postgres.volume, order.restored_volume)
        if not self._ours(order):
            raise Refused(f"{order.restored_volume} is not a volume of this recovery", code="volume-foreign")
        said = self._look(order, {})
        for key, what in _MUST_AGREE:
            if said[f"{key}_live"] != said[f"{key}_restored"]:
                raise Refused(
                    f"the two volumes differ in {what}: {said[f'{key}_live']} and {said[f'{key}_restored']}",
                    where=order.restored_volume,
                    code="volumes-differ",
                )
        record = pair_of(order.target.postgres.volume, order.restored_volume, said)
        # Once: a racing attempt that looked after the exchange would record it the wrong way round.
        return self._records.write_once(KIND, order.recovery_id, record)

    def _ours(self, order: SwapOrder) -> bool:
        found = self._engine.volume(order.restored_volume) or {}
        return (found.get("Labels") or {}).get(LABEL_RECOVERY) == order.recovery_id

    def _may_exchange(self, order: SwapOrder) -> None:
        """Refuse while any container runs on either volume: it would keep the directory it opened."""
        state = prove(self._engine, order.target)
        if state.status not in {"exited", "created", "dead"}:
            raise Refused("the server still runs", where=state.name, code="server-runs")
        refuse_if_in_use(self._engine, {order.target.postgres.volume, order.restored_volume})

    def _keeper(self, order: SwapOrder) -> None:
        """Hold the kept volume, mounted where the server has it."""
        server, name = order.target.postgres, container_name(order.recovery_id, "keeper")
        marks = labels(order, "keeper")
        ensure_kept(self._engine, name, server.image_id, order.restored_volume, marks, at=server.mount_path)

    def _job(self, order: SwapOrder, record: dict[str, Any], mode: str, ready: Ready) -> Job:
        live, restored = order.target.postgres.volume, order.restored_volume
        pair = {**record, "live_volume": live, "restored_volume": restored}
        name = container_name(order.recovery_id, mode)
        return exchange_job(self._engine, self._tools_image, name, pair, mode, labels(order, "tools"), ready)

    def _look(self, order: SwapOrder, record: dict[str, Any]) -> dict[str, str]:
        code, text = run(self._engine, self._job(order, record, "look", Ready()))
        if code != 0:
            raise Unavailable(f"the volumes cannot be seen: {text.strip()}", code="swap-look")
        return facts(text)

    def _exchange(self, order: SwapOrder, record: dict[str, Any]) -> dict[str, str]:
        """Exchange under the lock, unless that was done before; the same job looks again afterwards."""
        self._may_exchange(order)
        self._keeper(order)
        inside = below(order.target.postgres, "").strip("/") or "."
        code, text = run(self._engine, self._job(order, record, "swap", Ready(_PROMOTED, (inside,))))
        if code == STRANGE:
            raise _strange(order)
        if code == UNFIT:
            raise Refused(
                "the restored directory is not that of a cleanly stopped server",
                where=order.restored_volume,
                hint="nothing was exchanged; promote the copy again",
                code="swap-unfit",
            )
        said = facts(text)
        if code != 0 or said.get("state") != "swapped":
            raise Unavailable(f"the exchange failed: {text.strip()}", code="swap-failed")
        return said


def _strange(order: SwapOrder) -> Refused:
    return strange(order.target.postgres.volume, order.restored_volume)
