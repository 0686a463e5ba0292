"""What each image is made of, as values; the tag of a built image is the digest of its inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SERVICES = HERE.parent / "lab" / "services"
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
SUITE = "trixie"
BASE = "base"


@dataclass(frozen=True)
class Recipe:
    """One image: where its Dockerfile and its context lie, and what stands in for it in a registry.

    ``pulled`` is the tag that the protected project pins, or ``None`` for images that exist nowhere else.
    """

    name: str
    dockerfile: Path
    context: Path
    base: str | None = BASE
    build_args: Mapping[str, str] = field(default_factory=dict)
    pulled: str | None = None
    extra_input: str = ""

    def context_files(self) -> Iterator[tuple[str, Path]]:
        """Yield name in the context and path of every file that the build may read, in a fixed order."""
        for path in sorted(self.context.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path != self.dockerfile:
                yield path.relative_to(self.context).as_posix(), path


def _folder(name: str, pulled: str | None = None, extra_input: str = "") -> Recipe:
    folder = HERE / name
    return Recipe(
        name=name, dockerfile=folder / "Dockerfile", context=folder, pulled=pulled, extra_input=extra_input
    )


def _service(name: str, uid: int, pulled: str | None) -> Recipe:
    return Recipe(
        name=name,
        dockerfile=HERE / "services" / "service.Dockerfile",
        context=SERVICES,
        base="services",
        build_args={"SERVICE": name, "UID_GID": f"{uid}:{uid}"},
        pulled=pulled,
    )


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name=BASE, dockerfile=HERE / "base", context=HERE / "base", base=None, pulled="debian:trixie-slim"
        ),
        _folder("postgres", pulled="pgvector/pgvector:pg16"),
        _folder("redis", pulled="redis:7-alpine"),
        _folder("nginx", pulled="nginx:alpine"),
        _folder("minio", pulled="pgsty/minio", extra_input=MINIO_VERSION),
        _folder("tools", extra_input="dr.role=tools"),
        _folder("go"),
        Recipe(
            name="services",
            dockerfile=HERE / "services" / "Dockerfile",
            context=HERE / "services" / "none",
        ),
        _service("hasura", 1001, "hasura/graphql-engine:v2.44.0"),
        _service("auth", 1001, "nhost/hasura-auth:0.36.0"),
        _service("meilisearch", 1000, "getmeili/meilisearch:v1.6"),
        # Functions are the project's own code, so there is nothing to pull.
        _service("functions", 1001, None),
    )
}

LAB_IMAGES = ("minio", "postgres", "meilisearch", "hasura", "auth", "functions", "redis", "nginx", "tools")
"""Every image that the lab and the product need at run time, the slowest build first."""


def repository(name: str) -> str:
    """Return the repository part of a built image's reference."""
    return "dr-tools" if name == "tools" else f"dr-lab/{name}"


def digest(name: str, base_reference: str) -> str:
    """Return twelve hex digits over everything that decides the content of an image."""
    recipe = RECIPES[name]
    total = hashlib.sha256(f"{base_reference}\0{SUITE}\0{recipe.extra_input}\0".encode())
    if recipe.dockerfile.is_file():
        total.update(recipe.dockerfile.read_bytes())
    for key, value in sorted(recipe.build_args.items()):
        total.update(f"{key}={value}\0".encode())
    for inside, path in recipe.context_files():
        total.update(inside.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]
