"""Gates and the people who answer them, as ``stack.yaml`` states them."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from domain.durations import Duration
from domain.fact import Fact
from domain.persons import folded, name_limitation
from domain.signing import public_key_limitation

OPERATE = "operate"
"""The name under ``gates`` of what governs hold, resume, retry, skip and abort."""


class Rung(Fact):
    """One rung of an escalation: who is told when nobody has decided for so long."""

    after: Duration
    tell: tuple[str, ...]
    """Roles or names."""


class GatePolicy(Fact):
    """Who may decide at a gate, for how long that holds, and who is told while nobody does."""

    roles: tuple[str, ...] = ("operator",)
    quorum: int = Field(default=1, ge=1)
    """How many different people must approve."""
    self_approval: Literal["allowed", "refused"] = "refused"
    signed: Literal["required", "optional"] = "optional"
    valid_for: Duration = Field(default=timedelta(hours=4), gt=timedelta())
    """A brief or an approval that is older is none: people are asked again, on new measurements."""
    assess_again_after: Duration = timedelta(minutes=10)
    """After an approval that took longer than this, the damage is assessed again before the run acts."""
    remind_after: Duration = Field(default=timedelta(minutes=5), gt=timedelta())
    escalate_after: Duration = timedelta(minutes=15)
    """When the roles of the gate are told, unless ``escalation`` says who else and when."""
    escalation: tuple[Rung, ...] = ()
    deadline: Duration = Field(default=timedelta(days=1), gt=timedelta())
    """When nobody decided until then, the run parks. It never goes on by itself."""

    def rungs(self) -> tuple[Rung, ...]:
        """Return the escalation in the order of time."""
        chain = self.escalation or (Rung(after=self.escalate_after, tell=self.roles),)
        return tuple(sorted(chain, key=lambda rung: rung.after))


class Approver(Fact):
    """A person who holds a role; a bare name in the file is one without a key."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    key: str = ""
    """Public key, ``ed25519:`` and base64, as ``dr keys new`` prints it."""

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: object) -> object:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_usable(self) -> "Approver":
        problem = name_limitation(self.name) or (public_key_limitation(self.key) if self.key else None)
        if problem:
            raise ValueError(problem)
        return self


People = Mapping[str, tuple[Approver, ...]]
"""Role to the people who hold it."""


def holders(approvers: People) -> dict[str, tuple[str, ...]]:
    """Return the names that hold each role."""
    return {role: tuple(person.name for person in people) for role, people in approvers.items()}


def public_keys(approvers: People) -> dict[str, tuple[str, ...]]:
    """Return the public keys of each person; a person may have several."""
    keys: dict[str, tuple[str, ...]] = {}
    for person in _keyed(approvers):
        known = keys.get(person.name, ())
        keys[person.name] = known if person.key in known else (*known, person.key)
    return keys


def unfit(gates: Mapping[str, GatePolicy], approvers: People) -> Iterator[tuple[str, str]]:
    """Yield what no decision could ever satisfy: the key of the file, and why."""
    owners: dict[str, str] = {}
    for person in _keyed(approvers):
        if folded(owners.setdefault(person.key, person.name)) != folded(person.name):
            yield "approvers", f"{owners[person.key]} and {person.name} have the same key"
    keys = public_keys(approvers)
    for name, policy in gates.items():
        people = {person.name for role in policy.roles for person in approvers.get(role, ())}
        able = {folded(n) for n in people if policy.signed == "optional" or n in keys}
        for role in policy.roles if approvers else ():
            if role not in approvers:
                yield "gates", f"gates.{name}: nobody holds the role {role}"
        if (approvers or policy.signed == "required") and len(able) < policy.quorum:
            whose = "people with a key" if policy.signed == "required" else "people"
            yield "gates", f"gates.{name}: {policy.quorum} {whose} must approve, only {len(able)} may"


def _keyed(approvers: People) -> Iterator[Approver]:
    return (person for people in approvers.values() for person in people if person.key)
