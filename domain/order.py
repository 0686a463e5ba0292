"""What every hand is given, and what every hand returns."""

from pydantic import BaseModel, ConfigDict

from domain.inert import Quoted
from domain.stack import Kind, Stack


class Value(BaseModel):
    """A value that crosses the border between a runbook and a hand."""

    # What is refused is not repeated: it may be a password in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Token(Value):
    """A fencing token: a later run, or a later dispatch within a run, is the greater one."""

    run_started_ns: int = 0
    dispatched_ns: int = 0


class Order(Value):
    """The input of a hand; ``step`` of the runbook fills in the three fields."""

    recovery_id: str = ""
    step_id: str = ""
    token: Token = Token()


class Outcome(Value):
    """The result of a hand: one sentence for timeline, log and report, and its facts."""

    sentence: Quoted = ""


class StackOrder(Order):
    """An order that names a stack; an empty name means the worker's default one."""

    stack: str = ""
    scenario: str = ""


class VolumeMount(Value):
    """A named volume and where the container sees it."""

    volume: str
    path: str
    driver: str = "local"
    plain: bool = True
    """False when the volume has driver options, so that its data is not in ``_data``."""


class ServiceTarget(Value):
    """One service as resolved on the host by its compose labels."""

    name: str
    kind: Kind
    container_id: str
    container_name: str
    image: str
    image_id: str
    state: str
    health: str = ""
    """``healthy``, ``unhealthy``, ``starting`` or empty when the image has no health check."""
    restart_policy: str = "no"
    restart_count: int = 0
    volumes: tuple[VolumeMount, ...] = ()
    networks: tuple[str, ...] = ()
    published: dict[str, int] = {}
    """Port in the container (``5432``) to the port on 127.0.0.1."""
    depends_on: tuple[str, ...] = ()
    port: int | None = None
    """Port inside the container where its protocol is spoken; the kind has a usual one."""
    user: str | None = None
    """The account to ask as, for kinds that have accounts."""
    secrets: dict[str, str] = {}
    """Named references to secrets, never the secrets themselves."""
    optional: bool = False


class PostgresTarget(Value):
    """The PostgreSQL server of a stack and all that a copy of it needs to be alike."""

    service: str
    container_id: str
    container_name: str
    image_id: str
    volume: str
    mount_path: str
    pgdata: str
    """PGDATA as the container sees it; it lies in the volume."""
    uid: int
    gid: int
    port: int = 5432
    host_port: int | None = None
    network: str = ""
    user: str = "postgres"
    database: str = "postgres"
    password: str = ""
    """A reference, never the password itself."""
    arguments: tuple[str, ...] = ()
    """The arguments of the server's container, such as ``-c max_connections=200``."""
    volumes_root: str = "/var/lib/docker/volumes"


class Target(Value):
    """A stack resolved on its host: what a recovery acts on and nothing else."""

    stack: str
    project: str
    postgres: PostgresTarget
    services: tuple[ServiceTarget, ...]
    shelf: str
    """Absolute path of the shelf on the host."""

    def service(self, name: str) -> ServiceTarget:
        """Return the service of that name; ``KeyError`` when the stack has none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def of_kind(self, kind: Kind) -> ServiceTarget | None:
        """Return the first service of a kind, or ``None``."""
        return next((s for s in self.services if s.kind is kind), None)


class Facts(Outcome):
    """What a run acts on: the stack file as it was read, and what it resolved to."""

    stack: Stack
    stack_digest: str
    target: Target
    code_version: str = ""
    clocks: str = ""
    """How far the clocks stand apart that the run reads."""
    leftovers: tuple[str, ...] = ()
    """What other recoveries left here, a sentence each, with what can be done about it."""
    unfinished: tuple[str, ...] = ()
    """Ids of other recoveries that began to change something and were never closed."""


class TargetOrder(Order):
    """An order that acts on a resolved stack."""

    target: Target
