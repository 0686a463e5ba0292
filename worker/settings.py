"""Settings of every process of ours: the only place that reads the environment."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import DrError
from domain.stack_file import parse_stack

REPOSITORY = Path(__file__).resolve().parent.parent


def _default_state() -> Path:
    """Return ``.dr`` of a checkout, else ``/var/lib/dr``."""
    if (REPOSITORY / "infra" / "lab").is_dir() and (REPOSITORY / "Makefile").is_file():
        return REPOSITORY / ".dr"
    return Path("/var/lib/dr")


class Settings(BaseSettings):
    """Read from ``DR_…`` variables; the connection to Temporal comes from ``TEMPORAL_…``."""

    model_config = SettingsConfigDict(env_prefix="DR_", extra="ignore")

    state: Path = Field(default_factory=_default_state)
    """Directory of everything that must survive: decision S1."""
    stack_files: str = ""
    """Stack files joined by colons; empty means every ``*.yaml`` of ``DR_STATE/stacks``, else the lab's."""
    default_stack: str = ""
    """The stack that ``{}`` means; empty means the first one."""
    roles: str = "control,host"
    site: str = "main"
    control_queue: str = "dr-control"
    metrics_bind: str = "127.0.0.1:9464"
    temporal_port: int = 7233
    """Port of the embedded server; its Web UI is 1000 higher."""
    ui_address: str = "http://127.0.0.1:8233"
    tools_image: str = ""
    """Image of the tools; empty means the local one labelled ``dr.role=tools``."""
    otlp_endpoint: str = ""
    heartbeat_every_seconds: float = 1.0
    probes_per_second: float = 10.0
    log_format: Literal["json", "console"] = "json"

    def stacks(self) -> dict[str, Path]:
        """Return the stack files by the names of their stacks."""
        if self.stack_files:
            paths = [Path(part) for part in self.stack_files.split(":") if part]
        else:
            paths = sorted((self.state / "stacks").glob("*.yaml")) or [REPOSITORY / "infra" / "stack.yaml"]
        return {_name_in(path): path for path in paths}

    def stack_for(self, name: str) -> str:
        """Return the stack that a command means: the named one, else the default, else the first there is."""
        return name or self.default_stack or next(iter(self.stacks()), "")


class StackFiles(Mapping[str, Path]):
    """The stack files by their stacks' names, as they are now: ``dr init`` may write one at any time."""

    def __init__(self, settings: Settings) -> None:
        """Look where the settings say, each time."""
        self._settings = settings

    def __getitem__(self, name: str) -> Path:
        """Return the file of a stack."""
        return self._settings.stacks()[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._settings.stacks())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._settings.stacks())


def _name_in(path: Path) -> str:
    """Return the stack's name that a file states; a broken file is known by its own name."""
    try:
        return parse_stack(path.read_text(encoding="utf-8"), str(path))[0].stack
    except (DrError, OSError):
        return path.stem


def environment() -> dict[str, str]:
    """Return the process environment, for references to secrets and for child processes."""
    return dict(os.environ)
