"""Asks each kind of service, in its own protocol, whether it really works."""

from collections.abc import Callable, Mapping

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
            Kind.FUNCTIONS: self._http("/healthz"),
            Kind.PROXY: self._http("/health"),
        }

    def probe(self, target: Target, service: ServiceTarget) -> Proof:
        """Return whether the service works now, with what was seen."""
        try:
            container = self._engine.look(service.container_id)
            if container is None or not container.running:
                return Proof(name=service.name, passed=False, evidence=self.why_down(container))
            ask = self._by_kind.get(service.kind, self._container)
            return ask(target, service)
        except DrError as error:
            return Proof(name=service.name, passed=False, evidence=error.what)

    def why_down(self, container: ContainerState | None) -> str:
        """Return state, exit code and last log line of a container that does not serve."""
        if container is None:
            return "its container is gone"
        said = f"its container is {container.status}"
        if container.exit_code is not None:
            said += f" with exit code {container.exit_code}"
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

    def _postgres(self, target: Target, service: ServiceTarget) -> Proof:
        try:
            with self._sql.live(target, timeout_seconds=5) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                if row is not None and row[0]:
                    return Proof(name=service.name, passed=False, evidence="still in recovery")
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
        return redis.probe(service.name, host, port, self._secret(target, service, "password"))

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
        del target
        container = self._engine.look(service.container_id)
        health = container.raw["State"].get("Health") if container is not None else None
        status = (health or {}).get("Status")
        return Proof(
            name=service.name,
            passed=status in {None, "healthy"},
            evidence=f"its own health check says {status}" if status else "its container runs",
        )
