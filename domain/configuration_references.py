"""The other files that a Compose file names: read from its nodes, which an alias cannot unfold. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from domain.errors import Refused

LIMIT_BYTES = 1024 * 1024
_DEEPEST = 60
_MERGE = "tag:yaml.org,2002:merge"
_MERGES = 200


@dataclass(frozen=True)
class Reference:
    """One file that a Compose file names, relative to the project."""

    path: str
    compose: bool = False
    """It is a Compose file itself."""
    required: bool = True


def references_in(text: str) -> tuple[Reference, ...]:
    """Return the files that a Compose file names: environment, configs, secrets, includes, extensions.

    Raises ``Refused`` (``compose-file``) for a text that is not understood.
    """
    if len(text.encode()) > LIMIT_BYTES:
        raise _refused(f"it is larger than {LIMIT_BYTES // 1024} KiB")
    try:
        _refuse_depth(text)
        # Compose's own tags (!reset, !override) are no obstacle: nodes are read, nothing is built.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _refused(f"not YAML: {type(error).__name__}") from None
    if root is None:
        return ()
    found = [*_of_services(root), *_of_files(root), *_of_includes(root)]
    return tuple(dict.fromkeys(one for one in found if one.path))


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _refused(f"more than {_DEEPEST} levels")


def _of_services(root: yaml.Node) -> Iterator[Reference]:
    for service in _values(_get(root, "services")):
        for item in _items(_get(service, "env_file")):
            required = _text(_get(item, "required")) != "false"
            yield Reference(_text(item) or _text(_get(item, "path")), required=required)
        yield Reference(_text(_get(_get(service, "extends"), "file")), compose=True)


def _of_files(root: yaml.Node) -> Iterator[Reference]:
    for kind in ("configs", "secrets"):
        for one in _values(_get(root, kind)):
            yield Reference(_text(_get(one, "file")))


def _of_includes(root: yaml.Node) -> Iterator[Reference]:
    for item in _items(_get(root, "include")):
        for path in (_text(item), *(_text(one) for one in _items(_get(item, "path")))):
            yield Reference(path, compose=True)
        for one in _items(_get(item, "env_file")):
            yield Reference(_text(one))


def _get(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """Return the value of a key; one that was merged in counts where it is not said directly."""
    seen: set[int] = set()
    waiting = [node]
    while waiting and len(seen) < _MERGES:
        here = waiting.pop(0)
        if not isinstance(here, yaml.MappingNode) or id(here) in seen:
            continue
        seen.add(id(here))
        merged: list[yaml.Node | None] = []
        for name, value in here.value:
            if name.value == key and isinstance(value, yaml.Node):
                return value
            if name.tag == _MERGE:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        waiting = merged + waiting
    return None


def _values(node: yaml.Node | None) -> list[yaml.Node]:
    return [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    """Return the items of a list; one thing alone is a list of it."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    return [] if node is None else [node]


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _refused(what: str) -> Refused:
    return Refused(f"a Compose file is not understood: {what}", code="compose-file")
