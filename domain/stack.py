"""The facts about one protected stack, as ``infra/stack.yaml`` states them."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.backup_policy import BackupPolicy
from domain.durations import Duration
from domain.fact import INVISIBLE, Fact, Line
from domain.gates import Approver, GatePolicy
from domain.notify import Channel
from domain.offsite import OffsitePolicy
from domain.secret_ref import SecretRef, ServiceName

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Project = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Account = Annotated[
    str, StringConstraints(pattern=rf"^[^{INVISIBLE}\"'\\-][^{INVISIBLE}\"'\\]*$", max_length=254)
]
"""A role or an account: it stands in arguments and in ``pg_hba.conf`` (F-K4)."""
HttpPath = Annotated[str, StringConstraints(pattern=r"^/(?:[^/\\\x00-\x20\x7f][^\\\x00-\x20\x7f]*)?$")]
"""A path on the entrance of the stack: two slashes or a scheme would be another host."""
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4000)]


class Kind(StrEnum):
    """What a service is, which decides how it is probed and repaired."""

    POSTGRES = "postgres"
    HASURA = "hasura"
    AUTH = "auth"
    REDIS = "redis"
    OBJECTS = "objects"
    SEARCH = "search"
    FUNCTIONS = "functions"
    PROXY = "proxy"
    OTHER = "other"


class Objective(Fact):
    """What was promised: time to recover and data that may be lost."""

    rto: Duration
    rpo: Duration
    drill_rto: Duration | None = None
    """Tighter promise that a drill is judged by; the usual one when absent."""
    drill_rpo: Duration | None = None


class Service(Fact):
    """One service of the stack; the key in the file is its compose service name."""

    kind: Kind
    objective: Objective | None = None
    priority: Literal["critical", "high", "medium", "low"] = "medium"
    optional: bool = False
    depends_on: tuple[ServiceName, ...] | None = None
    """Overrides the graph that the labels of the containers state."""
    container: Project | None = None
    """Overrides the container found by compose labels; it must still be of the same project."""
    port: Port | None = None
    """Port inside the container; the published host port is looked up from it."""
    user: Account | None = None
    database: Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=254)] | None = None
    password: SecretRef | None = None
    secrets: dict[str, SecretRef] = Field(default_factory=dict)
    """Named secrets by reference, for example ``admin_secret`` of Hasura."""


class Check(Fact):
    """An integrity check: SQL that yields one number, with what is expected of it."""

    name: Line
    sql: Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=20_000)]
    """One query; it is read through a cursor, so that nothing but a query can be it (F-K5)."""
    expect: Literal["zero", "positive"] = "zero"
    because: Annotated[str, StringConstraints(pattern=rf"^[^{INVISIBLE}]*$", max_length=500)] = ""


class Call(Fact):
    """One HTTP request of the user journey; ``{name}`` in texts is filled from captures."""

    name: Line
    method: Literal["GET", "POST"] = "POST"
    path: HttpPath
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    body: dict[str, object] | None = None
    upload: str | None = None
    """Text sent as the file: it is the body itself, instead of JSON."""
    expect_status: Annotated[int, Field(ge=100, le=599)] = 200
    expect_text: str | None = None
    """Text that the answer must contain."""
    capture: dict[str, str] = Field(default_factory=dict)
    """Name of a capture to the dotted path of a value in the JSON answer."""
    within: Duration = timedelta(seconds=20)
    """The call is repeated until it is right or this time is over."""


class UserJourney(Fact):
    """What a user does, and the address where users come in."""

    entrance: ServiceName = "nginx"
    port: Port = 80
    secrets: dict[str, SecretRef] = Field(default_factory=dict)
    calls: tuple[Call, ...] = ()


class Stack(Fact):
    """One protected stack."""

    version: Literal[1] = 1
    stack: Name
    project: Project
    """Value of the compose project label of its containers."""
    site: Name = "main"
    mode: Literal["real", "drill"] = "real"
    services: dict[ServiceName, Service]
    scenarios: dict[Name, Objective] = Field(default_factory=dict)
    backup: BackupPolicy = BackupPolicy()
    offsite: OffsitePolicy | None = None
    """The second place of the backups; ``None`` keeps them on this host alone."""
    checks: tuple[Check, ...] = ()
    gates: dict[Name, GatePolicy] = Field(default_factory=dict)
    journey: UserJourney = UserJourney()
    approvers: dict[str, tuple[Approver, ...]] = Field(default_factory=dict)
    """Role to the people who hold it; an empty map accepts any name as a claim."""
    notify: tuple[Channel, ...] = ()
    """Where people are told; without any, the log and the notices of the host alone say it."""

    def only(self, kind: Kind) -> tuple[str, Service] | None:
        """Return the first service of a kind with its name, or ``None``."""
        return next(((n, s) for n, s in self.services.items() if s.kind is kind), None)
