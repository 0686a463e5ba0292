"""Drafts one service of a stack file: port, account, references to secrets, what it needs."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from domain.questions import Pad, Question, wrong
from domain.recognition import ACCOUNT_NAMES, DATABASE_NAMES, Sighting, needs_of
from domain.secret_ref import SecretRef
from domain.stack import Kind

PRIORITIES: Mapping[Kind, str] = {
    Kind.POSTGRES: "critical",
    Kind.HASURA: "critical",
    Kind.AUTH: "critical",
    Kind.PROXY: "critical",
    Kind.REDIS: "high",
    Kind.SEARCH: "low",
}
_PORTS: Mapping[Kind, tuple[int, ...]] = {
    Kind.POSTGRES: (5432,),
    Kind.HASURA: (8080,),
    Kind.AUTH: (4000,),
    Kind.REDIS: (6379,),
    Kind.OBJECTS: (9000,),
    Kind.SEARCH: (7700,),
    Kind.FUNCTIONS: (3008, 3000),
    Kind.PROXY: (80, 8080, 8000),
}
_PASSWORDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.POSTGRES: ("POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"),
    Kind.REDIS: ("REDIS_PASSWORD", "REDIS_PASS", "VALKEY_PASSWORD", "REDISCLI_AUTH"),
}
_NAMED: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    Kind.HASURA: {"admin_secret": ("HASURA_GRAPHQL_ADMIN_SECRET", "HASURA_GRAPHQL_ACCESS_KEY")},
    Kind.OBJECTS: {
        "access_key": ("MINIO_ROOT_USER", "MINIO_ACCESS_KEY"),
        "secret_key": ("MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"),
    },
    Kind.SEARCH: {"master_key": ("MEILI_MASTER_KEY",)},
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ACCOUNT_NAMES,
    "database": DATABASE_NAMES,
}
_NEEDED = {Kind.HASURA, Kind.OBJECTS}
"""Kinds that cannot be proven without their named secrets."""
_REFERENCE: TypeAdapter[str] = TypeAdapter(SecretRef)
HOW = "container:SERVICE:VARIABLE, env:VARIABLE of the worker, or file:/path"


def service_body(
    seen: Sighting, kinds: Mapping[str, Kind], everything: Mapping[str, Sighting], pad: Pad
) -> dict[str, Any]:
    """Return the keys of one service; what cannot be told is asked on the pad."""
    kind = kinds[seen.service]
    place = f"services.{seen.service}"
    body: dict[str, Any] = {"kind": kind.value, "priority": PRIORITIES.get(kind, "medium")}
    port = next((port for port in _PORTS.get(kind, ()) if port in seen.ports), None)
    usual = _PORTS.get(kind, (None,))[0]
    if port is None and usual is not None:
        others = [number for number in seen.ports if number not in {443, 8443}]
        port = others[0] if len(others) == 1 else usual
        if others:
            pad.remark(place, f"its ports are {_joined(seen.ports)}; usual for its kind is {usual}")
    if port is not None:
        body["port"] = port
    if kind is Kind.POSTGRES:
        body |= _server(seen, place, pad)
    if kind is Kind.AUTH:
        body |= _probe_account(seen.service, place, pad)
    body |= _secrets(seen, kind, everything, pad)
    needed, why = needs_of(seen, kinds, everything)
    if why:
        body["depends_on"] = list(needed)
        pad.remark(place, f"depends_on is stated here, {why}; without the key the container's label counts")
    elif needed:
        pad.remark(place, f"needs {_joined(needed)} by the label of its container")
    return body


def _server(seen: Sighting, place: str, pad: Pad) -> dict[str, Any]:
    found = {key: name for key in _NAMES if (name := _name_of(key, seen, place, pad))}
    pgdata = seen.facts.get("PGDATA", "/var/lib/postgresql/data")
    holding = [path for path in seen.volumes if f"{pgdata}/".startswith(f"{path.rstrip('/')}/")]
    if holding:
        path = max(holding, key=len)
        pad.remark(place, f"PGDATA {pgdata} lies in volume {seen.volumes[path]}, mounted at {path}")
    else:
        pad.remark(
            place, f"ASK: PGDATA {pgdata} is in no named volume; dr refuses until the data is moved into one"
        )
    return found


def _name_of(key: str, seen: Sighting, place: str, pad: Pad) -> str | None:
    """Return the server's account or database; a name that stands in a file is asked for."""
    stated = next((seen.facts[name] for name in _NAMES[key] if name in seen.facts), None)
    file = next((f"{name}_FILE" for name in _NAMES[key] if f"{name}_FILE" in seen.env_names), None)
    if stated or file is None:
        return stated
    return pad.ask(
        place,
        Question(
            id=f"{key}.{seen.service}",
            asks=f"What is the name in the file of {file}, the {key} of {seen.service}?",
            until_then="dr takes the usual name" if key == "database" else "dr refuses this server",
        ),
    )


def _probe_account(service: str, place: str, pad: Pad) -> dict[str, Any]:
    """Ask for the account that signs in as proof: the health endpoint of Auth is a constant."""
    until = "that Auth works cannot be proven, and a recovery parks in the end"
    user = pad.ask(
        place,
        Question(
            id=f"account.{service}",
            asks="With which e-mail address does dr sign in to prove that Auth works?",
            until_then=until,
        ),
    )
    password = _reference(
        pad,
        place,
        Question(
            id=f"account_password.{service}",
            asks=f"Where is the password of that account? {HOW}.",
            until_then=until,
        ),
    )
    return ({"user": user} if user else {}) | ({"password": password} if password else {})


def _secrets(seen: Sighting, kind: Kind, everything: Mapping[str, Sighting], pad: Pad) -> dict[str, Any]:
    place = f"services.{seen.service}"
    body: dict[str, Any] = {}
    if kind in _PASSWORDS:
        found = _find(seen, _PASSWORDS[kind], everything, pad)
        if found is None and (kind is Kind.POSTGRES or seen.wants_password):
            asked = Question(
                id=f"password.{seen.service}",
                asks=f"Where is the password of {seen.service}? {HOW}.",
                until_then="dr connects without one",
            )
            found = _reference(pad, place, asked)
        if found:
            body["password"] = found
    named: dict[str, str] = {}
    for key, variables in _NAMED.get(kind, {}).items():
        found = _find(seen, variables, everything, pad)
        if found is None and kind in _NEEDED:
            asked = Question(
                id=f"{key}.{seen.service}",
                asks=f"Where is the {key} of {seen.service}? {HOW}.",
                until_then="that it works cannot be proven",
            )
            found = _reference(pad, place, asked)
        if found:
            named[key] = found
    return body | ({"secrets": named} if named else {})


def _find(
    seen: Sighting, variables: tuple[str, ...], everything: Mapping[str, Sighting], pad: Pad
) -> str | None:
    """Return a reference by the name of a variable: the service's own, its file, else another service's."""
    for name in variables:
        if name in seen.env_names:
            return f"container:{seen.service}:{name}"
        if f"{name}_FILE" in seen.secret_files:
            return f"file:{seen.secret_files[f'{name}_FILE']}"
    for name, other in _elsewhere(variables, everything):
        pad.remark(
            f"services.{seen.service}", f"{name} is a variable of {other}, not of {seen.service} itself"
        )
        return f"container:{other}:{name}"
    return None


def _elsewhere(variables: tuple[str, ...], everything: Mapping[str, Sighting]) -> Iterator[tuple[str, str]]:
    for name in variables:
        yield from ((name, other) for other, seen in everything.items() if name in seen.env_names)


def _reference(pad: Pad, place: str, question: Question) -> str | None:
    answer = pad.ask(place, question)
    if answer is None:
        return None
    try:
        return _REFERENCE.validate_python(answer)
    except ValidationError:
        # What is not a reference may be the secret itself: it is not repeated.
        raise wrong(question.id, "…", f"a reference, never the secret itself: {HOW}") from None


def _joined(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values) or "none"
