"""Drafts a stack file from a running Compose project, and names what only people can answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import Refused
from domain.order import Order, Outcome, Value
from domain.policy_draft import gate, journey, promise
from domain.questions import Pad, Question, wrong
from domain.recognition import Recognised, Sighting, recognise
from domain.secret_ref import SERVICE
from domain.service_draft import service_body
from domain.stack import Kind

_NAME = re.compile(SERVICE)


class InventoryOrder(Order):
    """Look at a Compose project by its label."""

    project: str


class Inventory(Outcome):
    """What there is under a project's label."""

    project: str
    sightings: tuple[Sighting, ...]


class Draft(Value):
    """A stack file as plain content, with remarks by place, open questions, and what was left out."""

    content: dict[str, Any]
    remarks: dict[str, tuple[str, ...]]
    questions: tuple[Question, ...]
    left_out: tuple[str, ...]


def draft(seen: Inventory, stack: str, answers: Mapping[str, str]) -> Draft:
    """Return the stack file of a project, as far as it and ``answers`` (by ids of questions) tell it.

    Raises ``Refused``: ``no-database``, ``which-database``, ``answer-unknown``, ``answer-wrong``.
    """
    pad = Pad(answers)
    sightings, left_out = _chosen(seen, pad)
    kinds = _kinds(sightings, seen.project, pad, left_out)
    services = {name: service_body(found, kinds, sightings, pad) for name, found in sightings.items()}
    content: dict[str, Any] = {"version": 1, "stack": stack, "project": seen.project, "services": services}
    content |= promise(pad) | {"backup": {"shelf": f"shelf-{stack}", "keep_base": "7d"}}
    pad.remark("backup", "when each backup is taken and how long it is kept: docs/backups.md")
    pad.remark("backup", "'dr schedules apply' puts the schedules into force")
    content |= {"gates": {"swap": gate(pad)}, "journey": journey(sightings, kinds, pad)}
    pad.refuse_unknown()
    return Draft(
        content=content,
        remarks={place: tuple(lines) for place, lines in pad.remarks.items()},
        questions=tuple(pad.open),
        left_out=tuple(left_out),
    )


def _chosen(seen: Inventory, pad: Pad) -> tuple[dict[str, Sighting], list[str]]:
    """Return one container for each service that the file can name, and what is left out and why."""
    by_service: dict[str, list[Sighting]] = {}
    left_out = []
    for found in sorted(seen.sightings, key=lambda found: (found.service, found.container)):
        if found.job:
            left_out.append(f"{found.service}: a job that ended well")
        elif _NAME.fullmatch(found.service) is None:
            left_out.append(f"{found.service}: a stack file cannot hold such a name")
        else:
            by_service.setdefault(found.service, []).append(found)
    for name, several in by_service.items():
        if len(several) > 1:
            names = ", ".join(found.container for found in several)
            pad.remark(
                f"services.{name}",
                f"ASK: {len(several)} containers are this service ({names}). dr refuses until there is"
                " one, or one of them is named here as container:",
            )
    return {name: several[0] for name, several in by_service.items()}, left_out


def _kinds(
    sightings: Mapping[str, Sighting], project: str, pad: Pad, left_out: Sequence[str]
) -> dict[str, Kind]:
    taken = {name: _said_or_seen(found, pad) for name, found in sightings.items()}
    server = _database(taken, project, pad, left_out)
    kinds = {}
    for name, found in taken.items():
        kinds[name] = found.kind
        if name == server:
            kinds[name] = Kind.POSTGRES
        elif found.kind is Kind.POSTGRES:
            kinds[name] = Kind.OTHER
            pad.remark(f"services.{name}", "a PostgreSQL server too, but not the protected one")
        pad.remark(f"services.{name}", f"{kinds[name].value}: {found.because}")
    return kinds


def _said_or_seen(found: Sighting, pad: Pad) -> Recognised:
    """Return what a service is: as a person says, else as it looks; a guess is asked about."""
    taken = recognise(found)
    name = f"kind.{found.service}"
    if taken.certain:
        said = pad.answer(name)
    else:
        other = taken.kind is Kind.OTHER
        question = Question(
            id=name,
            asks=f"What is {found.service}? {taken.because[0].upper()}{taken.because[1:]}.",
            until_then="it counts as sound when its container is"
            if other
            else f"taken for {taken.kind.value}",
            choices=tuple(kind.value for kind in Kind),
        )
        said = pad.ask(f"services.{found.service}", question)
    if said is None:
        return taken
    if said not in set(Kind):
        raise wrong(name, said, f"one of {', '.join(Kind)}")
    return Recognised(kind=Kind(said), because="said by a person")


def _database(taken: Mapping[str, Recognised], project: str, pad: Pad, left_out: Sequence[str]) -> str:
    """Return the one server that is protected: the only certain one, else the one that is named."""
    servers = [name for name, found in taken.items() if found.kind is Kind.POSTGRES]
    likely = [name for name in servers if taken[name].certain] or servers
    named = pad.answer("database")
    if named is not None and named not in taken:
        raise wrong("database", named, f"one of {', '.join(taken)}")
    if named is not None or len(likely) == 1:
        return named or likely[0]
    known = ", ".join(likely or taken) or "none"
    unseen = f" (left out: {'; '.join(left_out[:3])})" if left_out else ""
    raise Refused(
        f"{len(likely)} services are PostgreSQL servers: {known}"
        if likely
        else f"no service is known to be a PostgreSQL server{unseen}",
        where=f"project {project}",
        hint=f"say which one dr protects: --answer database=NAME, one of {known}",
        code="which-database" if likely else "no-database",
    )
