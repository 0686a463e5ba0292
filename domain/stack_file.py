"""Reads ``stack.yaml`` strictly: a mistake is refused with its key and its line."""

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from domain.errors import Refused
from domain.gates import unfit
from domain.notify import unfit_channels
from domain.stack import Kind, Stack

LIMIT_BYTES = 256 * 1024
"""No stack needs more; a larger text is a mistake or an attack on the parser."""

_DEEPEST = 20
_MERGE = "tag:yaml.org,2002:merge"
_Path = tuple[str | int, ...]


def parse_stack(text: str, source: str) -> tuple[Stack, str]:
    """Return the stack that ``text`` states, and the SHA-256 of the text in hex.

    ``source`` is the name of the file, for messages. Raises ``Refused`` with code ``stack-file``
    for anything that is not exactly understood.
    """
    encoded = text.encode()
    if len(encoded) > LIMIT_BYTES:
        raise _refused(f"the file is larger than {LIMIT_BYTES // 1024} KiB", source, 1)
    try:
        _refuse_traps(text, source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[_Path, int] = {}
        if node is not None:
            _note_lines(node, (), lines, source)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise _refused(f"not YAML: {error.problem}", source, _line(error.problem_mark)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ValueError: an impossible date such as 2026-13-40 is found only while it is built.
        raise _refused(f"not YAML: {type(error).__name__}", source, 1) from None
    if not isinstance(content, dict):
        raise _refused("the file is not a mapping of keys to values", source, 1)
    try:
        stack = Stack.model_validate(content)
    except ValidationError as error:
        raise _explained(error, lines, source) from None
    _prove_consistent(stack, lines, source)
    return stack, hashlib.sha256(encoded).hexdigest()


def _refused(what: str, source: str, line: int, hint: str = "") -> Refused:
    return Refused(what, where=f"{source}, line {line}", hint=hint, code="stack-file")


def _line(mark: Any) -> int:  # noqa: ANN401 - yaml has two classes of marks, or none
    return int(mark.line) + 1 if mark is not None else 1


def _refuse_traps(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        # An alias can make a small text unfold into a huge one, and hides what a key really says.
        if isinstance(event, yaml.AliasEvent):
            raise _refused(
                f"the alias *{event.anchor} is not allowed",
                source,
                _line(event.start_mark),
                "write the value out",
            )
        # Deep nesting costs the parser the square of its depth: minutes for a text of 50 KiB.
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _refused(f"more than {_DEEPEST} levels", source, _line(event.start_mark))


def _note_lines(node: yaml.Node, path: _Path, lines: dict[_Path, int], source: str) -> None:
    lines.setdefault(path, _line(node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), lines, source)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = _line(key.start_mark)
            if key.tag == _MERGE:
                raise _refused("the key << is not allowed", source, line, "write the keys out")
            if inner in lines:
                raise _refused(
                    f"the key {_spelled(inner)} is there twice",
                    source,
                    line,
                    f"it is also on line {lines[inner]}; remove one",
                )
            lines[inner] = line
            _note_lines(value, inner, lines, source)


def _spelled(path: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in path) or "the file"


def _explained(error: ValidationError, lines: dict[_Path, int], source: str) -> Refused:
    found = [(_line_of(detail["loc"], lines), detail) for detail in error.errors(include_url=False)]
    line, detail = min(found, key=lambda item: item[0])
    path = tuple(part for part in detail["loc"] if part != "[key]")
    said = detail["msg"] if detail["type"] != "string_pattern_mismatch" else "this is no such name or text"
    if detail["type"] == "extra_forbidden":
        what = f"unknown key {_spelled(path)}"
    else:
        what = f"{_spelled(path)}: {said}"
    if len(found) > 1:
        what += f" (and {len(found) - 1} more)"
    return _refused(what, source, line, _hint(detail, path))


def _line_of(location: _Path, lines: dict[_Path, int]) -> int:
    for length in range(len(location), -1, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    return 1


def _hint(detail: ErrorDetails, path: _Path) -> str:
    if detail["type"].startswith("time_delta"):
        return "write a duration as 90s, 30m, 1h or 7d"
    if detail["type"] != "extra_forbidden":
        return ""
    known = list(_model_at(path[:-1]).model_fields)
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _model_at(path: _Path) -> type[BaseModel]:
    model: type[BaseModel] = Stack
    parts = iter(path)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        inner = next(_models_in(field.annotation), None)
        if inner is None:
            break
        if get_origin(field.annotation) in {dict, tuple}:
            next(parts, None)  # the name or the number of the item
        model = inner
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _prove_consistent(stack: Stack, lines: dict[_Path, int], source: str) -> None:
    def refuse(what: str, *path: str) -> Refused:
        known = ", ".join(stack.services)
        return _refused(what, source, _line_of(path, lines), f"services of this stack: {known}")

    missing = [name for name in stack.backup.leave_out if name not in stack.services]
    for key, problem in (
        *unfit(stack.gates, stack.approvers),
        *unfit_channels(stack.notify, stack.services),
        *(("backup", f"backup.leave_out: no service {name}") for name in missing),
    ):
        raise _refused(problem, source, _line_of((key,), lines))
    servers = [name for name, service in stack.services.items() if service.kind is Kind.POSTGRES]
    if len(servers) != 1:
        raise refuse(f"one service of kind postgres is needed, not {len(servers)}", "services")
    if stack.journey.calls and stack.journey.entrance not in stack.services:
        raise refuse(f"journey.entrance: no service {stack.journey.entrance}", "journey", "entrance")
    for name, service in stack.services.items():
        for needed in service.depends_on or ():
            if needed not in stack.services:
                raise refuse(
                    f"services.{name}.depends_on: no service {needed}",
                    "services",
                    name,
                    "depends_on",
                )
        for reference in (service.password, *service.secrets.values()):
            if reference and _container_of(reference, stack) is None:
                raise refuse(f"services.{name}: {reference} names no service", "services", name)


def _container_of(reference: str, stack: Stack) -> str | None:
    kind, _, rest = reference.partition(":")
    if kind != "container":
        return kind
    service = rest.partition(":")[0]
    return service if service in stack.services else None
