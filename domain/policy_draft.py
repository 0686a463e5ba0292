"""Drafts what a stack file promises: objectives, the gate, and what a user does."""

import re
from collections.abc import Mapping
from typing import Any

from domain.questions import Pad, Question, wrong
from domain.recognition import Sighting
from domain.stack import Kind

_STORES = {Kind.POSTGRES, Kind.REDIS, Kind.OBJECTS, Kind.SEARCH}
_VISIT = re.compile(r"(?:(GET|POST)\s+)?(/\S*)(?:\s+(\S.*))?")
_DURATION = re.compile(r"(\d+[smhd])\s*[,/ ]\s*(\d+[smhd])")
_HTTP_PORTS = (80, 8080, 8000, 3000, 5000)
_TLS_PORTS = {443, 8443}
_NOBODY = "nothing is tried from the user's side, so a recovery parks instead of claiming success"


def promise(pad: Pad) -> dict[str, Any]:
    """Return what was promised for a recovery."""
    asked = Question(
        id="objective",
        asks="How long may a recovery take, and how much may be lost? For example 30m, 5m.",
        until_then="a report holds its figures against nothing",
    )
    answer = pad.ask("scenarios", asked)
    if answer is None:
        return {"scenarios": {}}
    found = _DURATION.fullmatch(answer.strip())
    if found is None:
        raise wrong("objective", answer, "two durations, such as 30m, 5m")
    return {"scenarios": {"database_corruption": {"rto": found[1], "rpo": found[2]}}}


def gate(pad: Pad) -> dict[str, Any]:
    """Return who may approve the exchange of the data."""
    asked = Question(
        id="self_approval",
        asks="May the person who starts a recovery also approve it (a lone operator)?",
        until_then="a second person has to approve",
        choices=("allowed", "refused"),
    )
    own = pad.ask("gates", asked) or "refused"
    return {
        "roles": ["operator"],
        "quorum": 1,
        "self_approval": own,
        "remind_after": "5m",
        "escalate_after": "15m",
    }


def journey(sightings: Mapping[str, Sighting], kinds: Mapping[str, Kind], pad: Pad) -> dict[str, Any]:
    """Return what a user does, through the door that users most likely have."""
    doors = [name for name, kind in kinds.items() if kind not in _STORES and sightings[name].published]
    doors.sort(key=lambda name: (kinds[name] is not Kind.PROXY, kinds[name] is Kind.OTHER))
    door = pad.answer("entrance") or next(iter(doors), None)
    if len(doors) > 1:
        pad.remark("journey", f"published as well: {', '.join(name for name in doors if name != door)}")
    asked = Question(
        id="journey",
        asks="What does a user do? Best something that writes, for example POST /orders, or"
        " GET /shop Welcome: method, path, text that the answer holds.",
        until_then=_NOBODY,
    )
    answer = pad.ask("journey", asked)
    if door is None or door not in sightings:
        if answer is not None:
            raise wrong("entrance", str(door), f"one of {', '.join(sightings)}")
        return {"calls": []}
    said: dict[str, Any] = {"entrance": door, "port": _door_port(sightings[door]), "calls": []}
    if answer is not None:
        said["calls"] = [_call(answer)]
        pad.remark("journey", "the call named send is also made ten times a second, to measure downtime")
    return said


def _door_port(found: Sighting) -> int:
    ports = [int(port) for port in found.published] or list(found.ports)
    plain = [port for port in (*_HTTP_PORTS, *sorted(ports)) if port in ports and port not in _TLS_PORTS]
    return plain[0] if plain else 80


def _call(answer: str) -> dict[str, Any]:
    found = _VISIT.fullmatch(answer.strip())
    if found is None:
        raise wrong("journey", answer, "a path, such as GET /shop Welcome")
    call: dict[str, Any] = {"name": "send", "method": found[1] or "GET", "path": found[2]}
    return call | ({"expect_text": found[3]} if found[3] else {})
