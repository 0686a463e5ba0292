"""The stack file of a lab: the repository's own, with the lab's project and a name of its own."""

from __future__ import annotations

import re
from pathlib import Path

from infra.lab.settings import LabSettings

REPOSITORY_STACK = Path(__file__).resolve().parent.parent / "stack.yaml"


def write_stack_file(settings: LabSettings, name: str, *, shelf: str = "shelf") -> Path:
    """Write ``<state>/stacks/<name>.yaml`` for a lab and return its path; comments stay."""
    text = REPOSITORY_STACK.read_text(encoding="utf-8")
    text = _set(text, "stack", name, indent="")
    text = _set(text, "project", settings.project, indent="")
    text = _set(text, "shelf", shelf, indent="  ")
    path = settings.state / "stacks" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _set(text: str, key: str, value: str, *, indent: str) -> str:
    changed, times = re.subn(rf"(?m)^{indent}{key}: .*$", f"{indent}{key}: {value}", text, count=1)
    if times != 1:
        message = f"{REPOSITORY_STACK} has no key {key}"
        raise ValueError(message)
    return changed
