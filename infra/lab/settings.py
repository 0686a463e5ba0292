"""Settings of one lab, and the secrets it makes for itself."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scale = Literal["small", "demo"]
SERVICES = ("postgres", "hasura", "auth", "nginx", "redis", "minio", "meilisearch", "functions")
DEFAULT_PORTS = {
    "postgres": 15432,
    "redis": 16379,
    "minio": 19000,
    "meilisearch": 17700,
    "hasura": 18080,
    "auth": 14000,
    "functions": 13008,
    "proxy": 18000,
}


class LabSettings(BaseModel):
    """One lab. Labs with different projects, prefixes and ports run side by side.

    ``project`` is the Compose project (labels and volumes), ``prefix`` begins the container names;
    ``state`` holds the lab's secrets and, unless ``shared_cache`` names another folder, the cache.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = "dr-lab"
    prefix: str = "nchat"
    ports: dict[str, int] = Field(default_factory=lambda: dict(DEFAULT_PORTS))
    state: Path = Path(".dr")
    seed_scale: Scale = "demo"
    shared_cache: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder of what belongs to this lab alone."""
        return self.state.absolute() / "lab" / self.project

    @property
    def cache(self) -> Path:
        """Return the folder of what may be made again: programs, locks of builds."""
        return (self.shared_cache or self.state / "cache").absolute()

    @property
    def env_file(self) -> Path:
        """Return the file with the lab's secrets and ports (mode 0600)."""
        return self.folder / "env"


def free_ports() -> dict[str, int]:
    """Return a free loopback port for each published service."""
    sockets = {name: socket.socket() for name in DEFAULT_PORTS}
    for one in sockets.values():
        one.bind(("127.0.0.1", 0))
    ports = {name: int(one.getsockname()[1]) for name, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return ports


def new_secrets() -> dict[str, str]:
    """Return fresh secrets for a lab."""
    return {
        "POSTGRES_PASSWORD": secrets.token_hex(16),
        "HASURA_ADMIN_SECRET": secrets.token_hex(16),
        "JWT_KEY": secrets.token_hex(32),
        "MINIO_ROOT_USER": "lab",
        "MINIO_ROOT_PASSWORD": secrets.token_hex(16),
        "MEILI_MASTER_KEY": secrets.token_hex(16),
        "LAB_USER_PASSWORD": secrets.token_hex(8),
    }


def read_env(path: Path) -> dict[str, str]:
    """Return the names and values of an environment file; empty when there is none."""
    if not path.is_file():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and line[0] != "#")
    return {name: value for name, _, value in lines}


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write an environment file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    scratch.replace(path)


def ensure_env(settings: LabSettings, images: dict[str, str]) -> dict[str, str]:
    """Return the lab's environment; secrets are made once, ports and images follow the settings."""
    kept = read_env(settings.env_file)
    values = {name: kept.get(name, value) for name, value in new_secrets().items()}
    values |= {"PROJECT_NAME": settings.prefix, "POSTGRES_USER": "postgres", "POSTGRES_DB": "nchat"}
    values |= {f"PORT_{name.upper()}": str(port) for name, port in settings.ports.items()}
    values |= {f"IMAGE_{name.upper()}": images[name] for name in SERVICES}
    write_env(settings.env_file, values)
    return values
