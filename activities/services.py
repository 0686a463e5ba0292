"""Stops what writes to the database and starts it again, each proven by its own protocol."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from temporalio import activity

from activities.engine import ContainerState, Engine
from activities.postgres.serve import KIND as SERVING
from activities.postgres.sql import Sql
from activities.probes import Probes
from activities.pulse import beat
from activities.records import Records
from activities.secrets import Secrets
from activities.tokens import Tokens
from activities.writers import Writers, find_writers
from domain.errors import Refused, Unavailable, VerificationFailed
from domain.graph import dependents_of, start_waves
from domain.order import ServiceTarget, Target
from domain.recovery import Proof, ServicesOrder, ServicesStarted, ServicesStopped
from domain.stack import Kind

_T = TypeVar("_T")
_RECORD = "services"
_USUAL_GRACE_SECONDS = 10
_PROBE_EVERY_SECONDS = 0.5
_AT_ONCE = 8
_NAMELESS = re.compile(r"[0-9a-f]{64}")
_NOT_STARTED = {"docker-refused", "docker-failed"}


class Services:
    """Stops and starts services in the order of their dependencies."""

    def __init__(
        self,
        engine: Engine,
        secrets: Secrets,
        sql: Sql,
        tokens: Tokens,
        state: Path,
        *,
        healthy_within_seconds: float = 60,
    ) -> None:
        """Act through these clients; ``state`` is DR_STATE."""
        self._engine = engine
        self._sql = sql
        self._tokens = tokens
        self._records = Records(state)
        self._probes = Probes(engine, secrets, sql)
        self._healthy_within_seconds = healthy_within_seconds

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_writers_stopped(self, order: ServicesOrder) -> ServicesStopped:
        """Stop everything that writes to the database, with its restart policy switched off.

        The policies are on disk before anything is changed, and a second call never overwrites
        them. The proxy stays. Raises ``Unavailable`` when a container does not stop.
        """
        self._tokens.admit(order, order.target.stack)
        writers = find_writers(self._engine, self._sql, order.target)
        record = self._remember(order.recovery_id, writers)
        ordered = start_waves(_with_unlisted(order.target, record), record)
        for wave in reversed(ordered):
            beat(f"stopping {', '.join(wave)}")
            self._together(wave, lambda name, _: self._stop(record[name]["container"]))
        names = tuple(name for wave in reversed(ordered) for name in wave)
        sentence = f"Stopped what writes to the database: {', '.join(names) or 'nothing does'}"
        if writers.foreign:
            sentence += f"; also connected, not of this stack: {', '.join(writers.foreign)}"
        if not writers.sessions_seen:
            sentence += "; the server does not answer, so its sessions could not be read"
        return ServicesStopped(
            sentence=sentence,
            services=names,
            restart_policies={name: record[name]["restart"] for name in names},
        )

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_services_started(self, order: ServicesOrder) -> ServicesStarted:
        """Start services in waves, each healthy by its own protocol before the next wave.

        Without names: everything that was stopped, everything that needs the database, and what ran when
        the stack was resolved and does not run now, as after the death of the Docker daemon. The database
        that this recovery had serve already comes first when it fell. Raises ``VerificationFailed`` with
        code ``service-unhealthy`` naming each one and the reason.
        """
        self._tokens.admit(order, order.target.stack)
        record = self._records.read(_RECORD, _key(order.recovery_id)) or {}
        policies = {name: entry["restart"] for name, entry in record.items()} | order.restart_policies
        known = _with_unlisted(order.target, record)
        by_name = {service.name: service for service in known}
        dependents = dependents_of(known, order.target.postgres.service)
        wanted = order.services or (*dependents, *record, *self._fallen(order.target))
        proofs: list[Proof] = []
        for wave in start_waves(known, (*wanted, *self._fallen_database(order))):
            beat(f"starting {', '.join(wave)}")
            proofs += self._together(
                wave,
                lambda name, called_off: self._start(
                    order.target, by_name[name], policies.get(name), called_off
                ),
            )
            failed = [proof for proof in proofs if proof.passed is False]
            if failed:
                raise VerificationFailed(
                    "; ".join(f"{proof.name} is not healthy: {proof.evidence}" for proof in failed),
                    where=f"after {self._healthy_within_seconds:.0f} s",
                    hint="look at its log, repair it, then retry",
                    code="service-unhealthy",
                )
        return ServicesStarted(
            sentence=f"{len(proofs)} services run and answer: {', '.join(p.name for p in proofs)}"
            if all(proof.passed for proof in proofs)
            else "Started; not proven: "
            + "; ".join(f"{proof.name}: {proof.evidence}" for proof in proofs if not proof.passed),
            services=tuple(proof.name for proof in proofs),
            proofs=tuple(proofs),
        )

    def _fallen(self, target: Target) -> list[str]:
        """Return what ran when the stack was resolved and does not run now, but for PostgreSQL."""
        ran = [one for one in target.services if one.state == "running" and one.kind is not Kind.POSTGRES]
        found = ((one, self._engine.look(one.container_id)) for one in ran)
        return [one.name for one, now in found if now is not None and not now.running]

    def _fallen_database(self, order: ServicesOrder) -> list[str]:
        """Return PostgreSQL when it served in this recovery and does not run now; a fenced one stays down."""
        server = order.target.postgres
        found = self._engine.look(server.container_id)
        served = bool(order.recovery_id) and self._records.read(SERVING, order.recovery_id) is not None
        return [server.service] if served and found is not None and not found.running else []

    def _remember(self, recovery_id: str, writers: Writers) -> dict[str, Any]:
        record = self._records.read(_RECORD, _key(recovery_id)) or {}
        fresh = {}
        for name, container_id in writers.containers.items():
            found = self._engine.look(container_id)
            if name not in record and found is not None:
                policy = found.raw["HostConfig"].get("RestartPolicy") or {}
                fresh[name] = {"container": found.id, "restart": policy.get("Name") or "no"}
        if fresh or not record:
            # What is there already was read before we changed it: it wins.
            record = fresh | record
            self._records.write(_RECORD, _key(recovery_id), record)
        return record

    def _stop(self, container_id: str) -> None:
        found = self._engine.look(container_id)
        if found is None:
            return
        self._engine.set_restart(found.id, "no")
        if found.status in {"running", "paused", "restarting"}:
            grace = found.raw["Config"].get("StopTimeout") or _USUAL_GRACE_SECONDS
            self._engine.stop(found.id, int(grace))
        after = self._engine.look(container_id)
        if after is not None and after.status in {"running", "paused", "restarting"}:
            raise Unavailable("the container does not stop", where=after.name, code="not-stopped")

    def _start(self, target: Target, service: ServiceTarget, policy: str | None, called_off: Event) -> Proof:
        found = self._current(target, service)
        if found is None:
            return _optional(
                service, Proof(name=service.name, passed=False, evidence="its container is gone")
            )
        service = service.model_copy(update={"container_id": found.id})
        if policy is not None:
            # Before the start: some programs end when what they need is not up yet, and rely on it.
            self._engine.set_restart(found.id, policy)
        deadline, ended = 0.0, ""
        while True:
            proof = self._not_started(found, service) or self._probes.probe(target, service)
            # From the first start on: an engine that is slow to start it is no illness of the service.
            deadline = deadline or time.monotonic() + self._healthy_within_seconds
            if proof.passed is not False or time.monotonic() > deadline or called_off.is_set():
                return _optional(service, _with_its_end(proof, ended))
            called_off.wait(_PROBE_EVERY_SECONDS)
            now = self._engine.look(found.id)
            if now is not None and not now.running:
                # The next start begins its log anew; what it ended with is the reason wanted.
                ended = self._probes.why_down(now)

    def _not_started(self, found: ContainerState, service: ServiceTarget) -> Proof | None:
        """Start the container; return why Docker does not, such as a port that is taken."""
        try:
            self._engine.start(found.id)
        except (Refused, Unavailable) as error:
            if error.code not in _NOT_STARTED:
                raise
            said = " ".join(error.what.split())[:400]
            return Proof(name=service.name, passed=False, evidence=f"{found.name} does not start: {said}")
        return None

    def _current(self, target: Target, service: ServiceTarget) -> ContainerState | None:
        """Return the container; one that was made anew must be like the one that was resolved (F-B3)."""
        found = self._engine.look(service.container_id)
        if found is not None or not service.image_id:
            return found
        anew = next(iter(self._engine.find(target.project, service.name)), None)
        if anew is None:
            return None
        strange = _unlike(anew, service)
        if strange:
            raise Refused(
                f"{anew.name} is not the container that was resolved: it was made anew and {strange}",
                where=anew.id[:12],
                hint="put it back as it was, or start a new recovery, which resolves its targets anew",
                code="target-changed",
            )
        return anew

    def _together(self, names: Sequence[str], act: Callable[[str, Event], _T]) -> list[_T]:
        """Act on all at once, with a heartbeat while they take their time."""
        called_off = Event()
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="services")
        try:
            # In the hand's own context: what was admitted, and whether it still is, belongs to it.
            futures = [pool.submit(copy_context().run, act, name, called_off) for name in names]
            while wait(futures, timeout=1, return_when=FIRST_EXCEPTION).not_done:
                if any(future.done() and future.exception() for future in futures):
                    break
                beat(f"waiting for {', '.join(names)}")
            return [future.result() for future in futures]
        finally:
            called_off.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _unlike(found: ContainerState, service: ServiceTarget) -> str:
    """Return in what a container differs from the resolved one: its image or its volumes."""
    if found.image_id != service.image_id:
        return "has another image"
    mounts = found.raw.get("Mounts") or []
    mounted = {(m["Name"], m["Destination"]) for m in mounts if m.get("Type") == "volume"}
    # Nameless volumes of the image are new with each container.
    wanted = {(v.volume, v.path) for v in service.volumes if not _NAMELESS.fullmatch(v.volume)}
    return "" if wanted <= mounted else "has other volumes"


def _key(recovery_id: str) -> str:
    return recovery_id or "by-hand"


def _with_unlisted(target: Target, record: dict[str, Any]) -> tuple[ServiceTarget, ...]:
    """Return the services of the stack, and what the stack file does not list but had a session."""
    listed = {service.name for service in target.services}
    return target.services + tuple(
        ServiceTarget(
            name=name,
            kind=Kind.OTHER,
            container_id=entry["container"],
            container_name=name,
            image="",
            image_id="",
            state="",
            depends_on=(target.postgres.service,),
        )
        for name, entry in record.items()
        if name not in listed
    )


def _with_its_end(proof: Proof, ended: str) -> Proof:
    """Add how the program ended before it was last started, unless that is what the proof tells."""
    if proof.passed is not False or not ended or proof.evidence == ended:
        return proof
    return proof.model_copy(update={"evidence": f"{proof.evidence}; started before, {ended}"})


def _optional(service: ServiceTarget, proof: Proof) -> Proof:
    if not service.optional or proof.passed is not False:
        return proof
    return proof.model_copy(update={"passed": None, "evidence": f"optional, and ill: {proof.evidence}"})
