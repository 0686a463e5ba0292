"""Exchanges the data of a service with restored data: stopped, exchanged in one rename, started again.

Meanwhile Docker is told not to start the service by itself: after a restart of its daemon it would run on a
directory that is about to be exchanged. The old data stay in the other volume until people release them.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from activities.engine import Engine
from activities.in_use import refuse_if_in_use
from activities.pulse import beat
from activities.records import Records
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
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, container_name
from domain.order import ServiceTarget, TargetOrder

KIND = "volume-exchange"
_STOP_SECONDS = 120
_JOB_SECONDS = 600.0
_POLL_SECONDS = 0.1

T = TypeVar("T")


class VolumeExchange:
    """The exchange of one service's data in one recovery, which is done exactly once."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        tools_image: str,
        order: TargetOrder,
        service: ServiceTarget,
    ) -> None:
        """``tools_image`` has ``mv --exchange``."""
        self._engine = engine
        self._records = records
        self._tools_image = tools_image
        self._order = order
        self._service = service
        self._key = f"{order.recovery_id}-{service.name}"
        self.keeper = container_name(order.recovery_id, f"{service.name}-keeper")

    def record(self) -> dict[str, Any] | None:
        """Return what is known of it: the two volumes and inodes, the restart policy, what was kept."""
        return self._records.read(KIND, self._key)

    def done(self) -> dict[str, Any] | None:
        """Return the record when the exchange was made and recorded, with ``kept_bytes``."""
        record = self.record()
        return record if record is not None and "kept_bytes" in record else None

    def ensure_exchanged(
        self,
        live: str,
        restored: str,
        ready: Ready = Ready(),  # noqa: B008 - frozen
    ) -> dict[str, Any]:
        """Stop the service and exchange, unless that was done; return the record, with ``kept_bytes``.

        Raises ``Refused`` when anything is not as it must be, before the service stops if that can be seen
        by then; nothing was exchanged.
        """
        record = self.record()
        if record is not None and (record["live_volume"], record["restored_volume"]) != (live, restored):
            gone = self._engine.volume(record["restored_volume"]) is None
            if "kept_bytes" in record or not (gone or self._run(record, "look")["state"] == "before"):
                raise self._strange(record)
            # An earlier attempt, which exchanged nothing: what its keeper holds is no old data.
            for keeper in self._engine.labelled(f"{LABEL_RECOVERY}={self._order.recovery_id}"):
                if keeper.name == self.keeper:
                    self._engine.remove(keeper.id, force=True)
            self._records.remove(KIND, self._key)
            record = None
        if record is None:
            record = self._prepared(live, restored)
        if "kept_bytes" not in record:
            said = self._exchange(record, ready)
            record |= {"kept_bytes": int(said["kept_bytes"]) * KILOBYTE}
            self._records.write(KIND, self._key, record)
        return record

    def serve(
        self,
        answer: Callable[[], T],
        not_up: Callable[[str], Unavailable],
        *,
        limit_seconds: float,
    ) -> T:
        """Start the service, wait for its answer, and have Docker start it again as it did before.

        ``answer`` raises ``Unavailable`` as long as there is none. When the service ends instead, or the
        time is over, what ``not_up`` returns is raised; it is given why there was no answer.
        """
        service = self._service
        self._engine.start(service.container_id)
        found = self._answered(answer, not_up, time.monotonic() + limit_seconds)
        policy = (self.record() or {}).get("policy", service.restart_policy)
        self._engine.set_restart(service.container_id, str(policy))
        return found

    def _answered(self, answer: Callable[[], T], not_up: Callable[[str], Unavailable], deadline: float) -> T:
        service = self._service
        while True:
            try:
                return answer()
            except Unavailable as why:
                state = self._engine.look(service.container_id)
                if state is None or state.status in {"exited", "dead"} or time.monotonic() > deadline:
                    raise not_up(why.what) from None
            beat(f"{service.name} starts")
            time.sleep(_POLL_SECONDS)

    def _prepared(self, live: str, restored: str) -> dict[str, Any]:
        """Record on disk, before anything moves, which directory is which, and the restart policy."""
        refuse_unplain(self._engine, live, restored)
        said = self._run({"live_volume": live, "restored_volume": restored}, "look")
        if said["device_live"] != said["device_restored"]:
            raise Refused("the two volumes are on two filesystems", where=restored, code="volumes-differ")
        record = pair_of(live, restored, said) | {"policy": self._service.restart_policy}
        # Once: a racing attempt that looked after the exchange would record it the wrong way round.
        return self._records.write_once(KIND, self._key, record)

    def _exchange(self, record: dict[str, Any], ready: Ready) -> dict[str, str]:
        volumes = (record["live_volume"], record["restored_volume"])
        refuse_unplain(self._engine, *volumes)
        refuse_if_in_use(self._engine, volumes, but=self._service.container_id)
        self._stop()
        refuse_if_in_use(self._engine, volumes)
        ensure_kept(
            self._engine,
            self.keeper,
            self._service.image_id,
            record["restored_volume"],
            self._labels("keeper"),
        )
        said = self._run(record, "swap", ready)
        if said.get("state") != "swapped":
            raise Unavailable("the exchange failed", where=record["live_volume"], code="swap-failed")
        return said

    def _stop(self) -> None:
        service = self._service
        beat(f"stopping {service.name}")
        # A service that comes and goes cannot be told anything while it goes, so it is stopped first; and
        # once more, for Docker's daemon may have started it in between.
        self._engine.stop(service.container_id, _STOP_SECONDS)
        self._engine.set_restart(service.container_id, "no")
        self._engine.stop(service.container_id, _STOP_SECONDS)
        found = self._engine.look(service.container_id)
        if found is None or found.status not in {"exited", "created", "dead"}:
            raise Unavailable(
                f"{service.name} does not stop", where=service.container_name, code="not-stopped"
            )

    def _run(
        self,
        pair: dict[str, Any],
        mode: str,
        ready: Ready = Ready(),  # noqa: B008 - frozen
    ) -> dict[str, str]:
        name = container_name(self._order.recovery_id, f"{self._service.name}-{mode}")
        labels = self._labels("tools")
        job = exchange_job(self._engine, self._tools_image, name, pair, mode, labels, ready)
        self._remove_ended(name)
        state, log, _ = self._engine.follow(
            job,
            lambda _: beat(f"{self._service.name}: its volumes are exchanged"),
            limit_seconds=_JOB_SECONDS,
        )
        self._engine.remove(state.id, force=True)
        if state.exit_code == STRANGE:
            raise self._strange(pair)
        if state.exit_code == UNFIT:
            raise Refused(
                "what was restored may not go live",
                where=str(pair["restored_volume"]),
                hint="nothing was exchanged; restore again",
                code="swap-unfit",
            )
        if state.exit_code != 0:
            raise Unavailable(f"the volumes cannot be exchanged: {log.strip()[-200:]}", code="swap-failed")
        return {key: value for key, _, value in (line.partition("=") for line in log.splitlines())}

    def _remove_ended(self, name: str) -> None:
        """Remove the job of an earlier attempt when it is over: its answer may be stale."""
        old = self._engine.look(name)
        if old is not None and old.status in {"created", "exited", "dead"}:
            self._engine.remove(old.id, force=True)

    def _strange(self, pair: dict[str, Any]) -> Refused:
        return strange(pair["live_volume"], pair["restored_volume"])

    def _labels(self, role: str) -> dict[str, str]:
        order = self._order
        return {LABEL_RECOVERY: order.recovery_id, LABEL_STACK: order.target.stack, LABEL_ROLE: role}
