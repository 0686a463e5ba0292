"""Writes a drafted stack file as text: content by the YAML library, remarks as comments above their place."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from domain.inventory import Draft

_WIDTH = 100
_HEAD = """\
The facts about one protected stack, drafted by 'dr init' from what runs under its project label.
Lines that begin with ASK: are open questions: answer them here and remove the line, or answer
by 'dr init --force --answer ID=VALUE' with the id in brackets. 'dr doctor' is red until none is left.
Unknown keys are refused, durations are written 90s, 30m, 1h, 7d, and secrets are references."""


def stack_text(draft: Draft) -> str:
    """Return the text of the stack file; what comes from containers cannot break out of its comment."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    yield from (f"# {line}" for line in _HEAD.splitlines())
    yield from (_comment(f"Left out: {line}") for line in draft.left_out)
    for key, value in draft.content.items():
        if isinstance(value, Mapping):
            yield ""
        yield from (_comment(line) for line in draft.remarks.get(key, ()))
        if key != "services":
            yield from _dumped({key: value})
            continue
        yield "services:"
        for name, service in value.items():
            yield from (f"  {_comment(line)}" for line in draft.remarks.get(f"services.{name}", ()))
            yield from (f"  {line}" for line in _dumped({name: service}))


def _dumped(content: Mapping[str, Any]) -> list[str]:
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=False, width=_WIDTH)
    return text.splitlines()


def _comment(line: str) -> str:
    """Return a comment of one line: names and images are written by others."""
    return "# " + " ".join("".join(c if c.isprintable() else " " for c in line).split())
