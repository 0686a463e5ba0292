"""Asks each kind of service, in its own protocol, whether it really works."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import psycopg

from activities import auth, objects, proxy, redis
from activities.address import address, http_url
from activities.engine import ContainerState, Engine
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.errors import DrError
from domain.order import ServiceTarget, Target
from domain.recovery import Proof
from domain.stack import Kind

_Probe = Callable[[Target, ServiceTarget], Proof]
_SETTLED = timedelta(seconds=10)
_FIRST_MISTAKE = timedelta(seconds=2)
_LOOPS = 2


class Probes:
    """One question per kind; the answer is a proof, never an exception."""

    def __init__(self, engine: Engine, secrets: Secrets | None = None, sql: Sql | None = None) -> None:
        """Reveal passwords through ``secrets`` and ask PostgreSQL through ``sql``."""
        self._engine = engine
        self._secrets = secrets or Secrets(engine)
        self._sql = sql or Sql(self._secrets)
        self._by_kind: Mapping[Kind, _Probe] = {
            Kind.POSTGRES: self._postgres,
            Kind.HASURA: self._http("/healthz?strict=true"),
            Kind.AUTH: self._auth,
            Kind.REDIS: self._redis,
            Kind.OBJECTS: self._objects,
            Kind.SEARCH: self._http("/health"),
            Kind.FUNCTIONS: self._door("/healthz"),
            Kind.PROXY: self._door("/health"),
        }

    def probe(self, target: Target, service: ServiceTarget) -> Proof:
        """Return whether the service works now, with what was seen."""
        try:
            container = self._engine.look(service.container_id)
            if container is None or not container.running:
                return Proof(name=service.name, passed=False, evidence=self.why_down(container))
            ask = self._by_kind.get(service.kind, self._container)
            proof = ask(target, service)
        except DrError as error:
            return Proof(name=service.name, passed=False, evidence=error.what)
        # Its own protocol decides; what Docker says of the container is told beside it.
        said = _circumstances(container)
        return proof.model_copy(update={"evidence": f"{proof.evidence}; {said}"}) if said else proof

    def why_down(self, container: ContainerState | None) -> str:
        """Return state, exit code and last log line of a container that does not serve."""
        if container is None:
            return "its container is gone"
        said = f"its container is {_STATES.get(container.status, container.status)}"
        if container.status == "restarting":
            said += f", last exit code {container.raw['State'].get('ExitCode')}"
        elif container.exit_code is not None:
            said += f" with exit code {container.exit_code}"
        if container.raw["State"].get("OOMKilled"):
            said += ", killed for lack of memory"
        if container.raw["State"].get("Error"):
            said += f", Docker: {container.raw['State']['Error'][:200]}"
        said += _restarts(container)
        lines = self._engine.logs(container.id, tail=5).strip().splitlines()
        return f"{said}; last log line: {lines[-1][:200]}" if lines else said

    def _secret(self, target: Target, service: ServiceTarget, name: str) -> str | None:
        reference = service.secrets.get(name)
        return self._secrets.reveal(reference, target.project) if reference else None

    def _http(self, path: str) -> _Probe:
        def ask(target: Target, service: ServiceTarget) -> Proof:
            del target
            return proxy.probe(service.name, http_url(self._engine, service), path)

        return ask

    def _door(self, path: str) -> _Probe:
        """Ask a program of the stack's own: where it has no such path, its container's health counts."""

        def ask(target: Target, service: ServiceTarget) -> Proof:
            url = http_url(self._engine, service)
            proof = proxy.probe(service.name, url, path, may_lack_it=True)
            if proof.passed is not None:
                return proof
            own = self._container(target, service)
            return own.model_copy(update={"evidence": f"{proof.evidence}; {own.evidence}"})

        return ask

    def _postgres(self, target: Target, service: ServiceTarget) -> Proof:
        try:
            with self._sql.live(target, timeout_seconds=5) as connection:
                row = connection.execute(
                    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
                ).fetchone()
                if row is not None and row[0]:
                    return Proof(name=service.name, passed=False, evidence="still in recovery")
                if row is not None and row[1]:
                    # What is written to the WAL below is not asked whether it may be.
                    return Proof(name=service.name, passed=False, evidence="its sessions are read-only")
                # Reaches the WAL and its disk at the commit, and leaves no row behind.
                connection.execute("SELECT pg_logical_emit_message(true, 'dr', 'probe')")
        except psycopg.Error as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return Proof(name=service.name, passed=False, evidence=reason[:200])
        return Proof(name=service.name, passed=True, evidence="answers over TCP and takes a write")

    def _auth(self, target: Target, service: ServiceTarget) -> Proof:
        return auth.probe(
            service.name,
            http_url(self._engine, service),
            service.user,
            self._secret(target, service, "password"),
        )

    def _redis(self, target: Target, service: ServiceTarget) -> Proof:
        host, port = address(self._engine, service)
        password = self._secret(target, service, "password")
        return redis.probe(service.name, host, port, password, service.user)

    def _objects(self, target: Target, service: ServiceTarget) -> Proof:
        host, port = address(self._engine, service)
        return objects.probe(
            service.name,
            host,
            port,
            self._secret(target, service, "access_key"),
            self._secret(target, service, "secret_key"),
        )

    def _container(self, target: Target, service: ServiceTarget) -> Proof:
        """Judge a kind that has no protocol of ours by its container alone."""
        del target
        container = self._engine.look(service.container_id)
        if container is None or not container.running:
            return Proof(name=service.name, passed=False, evidence=self.why_down(container))
        health = _health(container)
        if _loops(container):
            return Proof(name=service.name, passed=False, evidence=self.why_down(container))
        if health:
            said = f"its own health check says {health}"
            return Proof(name=service.name, passed=health == "healthy", evidence=said)
        age = _age(container)
        if timedelta(0) <= age < _FIRST_MISTAKE:
            # Between its start and its first mistake every program runs.
            said = f"it was started {age.total_seconds():.1f} s ago and has no health check"
            return Proof(name=service.name, passed=False, evidence=said)
        return Proof(name=service.name, passed=True, evidence="it runs and has no health check")


_STATES = {
    "running": "in a restart loop",
    "restarting": "in a restart loop",
    "paused": "paused: its process stands still",
    "created": "created and was never started",
}


def _health(container: ContainerState) -> str:
    return str((container.raw["State"].get("Health") or {}).get("Status") or "").replace("none", "")


def _restarts(container: ContainerState) -> str:
    count = int(container.raw.get("RestartCount", 0))
    return f", restarted {count} times" if count else ""


def _loops(container: ContainerState) -> bool:
    """Tell whether a container runs only for the moment: restarted again and again, and just now."""
    return int(container.raw.get("RestartCount", 0)) >= _LOOPS and _age(container) < _SETTLED


def _circumstances(container: ContainerState) -> str:
    """Return what is strange about a container that runs: its health check, its restarts."""
    health = _health(container)
    said = f"Docker calls it {health}" if health not in {"", "healthy"} else ""
    if health == "unhealthy":
        last = (container.raw["State"]["Health"].get("Log") or [{}])[-1]
        said += f": {str(last.get('Output', '')).strip()[:120]}"
    return (said + _restarts(container)).removeprefix(", ")


def _age(container: ContainerState) -> timedelta:
    """Return for how long a container has run; below zero where the engine's clock is ahead of ours."""
    return datetime.now(UTC) - datetime.fromisoformat(container.raw["State"]["StartedAt"])
