"""References to secrets, resolved only inside the hand that needs the value."""

from pathlib import Path

from activities.engine import Engine
from domain.errors import Refused

_LIMIT_BYTES = 64 * 1024


class Secrets:
    """Resolves ``container:<service>:<ENV>``, ``env:<NAME>`` and ``file:<path>``."""

    def __init__(self, engine: Engine, environment: dict[str, str] | None = None) -> None:
        """``environment`` is what ``env:`` references are read from."""
        self.engine = engine
        self._environment = environment or {}

    def reveal(self, reference: str, project: str) -> str:
        """Return the secret; ``Refused`` names the reference, never the value."""
        kind, _, rest = reference.partition(":")
        found: str | None = None
        if kind == "env":
            found = self._environment.get(rest)
        elif kind == "file":
            found = _in_file(Path(rest))
        elif kind == "container":
            service, _, name = rest.partition(":")
            found = self._from_container(project, service, name)
        if found is None:
            raise Refused(
                f"the secret {reference} cannot be read",
                where="stack.yaml",
                hint="check the reference; the value itself is never stored here",
                code="secret-missing",
            )
        return found

    def _from_container(self, project: str, service: str, name: str) -> str | None:
        for container in self.engine.find(project, service):
            for entry in container.raw["Config"].get("Env") or []:
                key, _, value = entry.partition("=")
                if key == name:
                    return str(value)
        return None


def _in_file(path: Path) -> str | None:
    """Return the text of a file or ``None``; mounted secrets are reached by links."""
    if not path.is_file():
        return None  # a pipe would hold the worker for ever
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
        return content.decode().strip() if len(content) <= _LIMIT_BYTES else None
    except (OSError, ValueError):
        return None
