"""The MinIO program, compiled once a version and kept in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import docker

from domain.errors import Unavailable
from domain.names import LABEL_MADE_BY
from infra.images.recipes import MINIO_VERSION

MODULE = f"github.com/minio/minio@{MINIO_VERSION}"
GO_NEEDED = (1, 24)
INSTALL = ("go", "install", "-trimpath", "-ldflags", "-s -w", MODULE)
TRUST = "/etc/ssl/certs/ca-certificates.crt"


def local_go() -> str | None:
    """Return the machine's own Go when it is new enough."""
    program = shutil.which("go")
    if program is None:
        return None
    said = subprocess.run([program, "env", "GOVERSION"], check=False, capture_output=True, text=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", said.strip())
    return program if found and (int(found[1]), int(found[2])) >= GO_NEEDED else None


def minio_program(client: docker.DockerClient, cache: Path, builder: Callable[[], str]) -> Path:
    """Return the path of the compiled program; ``builder`` gives the image with Go when one is needed.

    The compiler's caches (2 GB) live beside it while it works and are removed afterwards.
    """
    kept = cache / "minio" / MINIO_VERSION / "minio"
    if kept.is_file():
        return kept
    scratch = cache / "minio" / "build"
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in ("bin", "tmp"):
        (scratch / folder).mkdir(parents=True)
    try:
        if program := local_go():
            _compile_here(program, scratch)
        else:
            _compile_in_container(client, builder(), scratch)
        kept.parent.mkdir(parents=True, exist_ok=True)
        (scratch / "bin" / "minio").rename(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return kept


def _go_environment(root: str) -> dict[str, str]:
    return {
        "GOBIN": f"{root}/bin",
        "GOPATH": f"{root}/path",
        "GOMODCACHE": f"{root}/modules",
        "GOCACHE": f"{root}/objects",
        "GOTMPDIR": f"{root}/tmp",  # noqa: S108 - inside a folder of our own
        "GOFLAGS": "-modcacherw",  # so that the cache can be removed without root's help
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


def _compile_here(program: str, scratch: Path) -> None:
    # A lower priority lets the database image and the seeding, which others wait for, go first.
    nice = ["nice", "-n", "10"] if shutil.which("nice") else []
    done = subprocess.run(
        [*nice, program, *INSTALL[1:]],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | _go_environment(str(scratch)),
    )
    if done.returncode != 0:
        raise _failed(done.stderr)


def _compile_in_container(client: docker.DockerClient, image: str, scratch: Path) -> None:
    volumes = {str(scratch): {"bind": "/build", "mode": "rw"}}
    if Path(TRUST).is_file():
        volumes[TRUST] = {"bind": TRUST, "mode": "ro"}  # the authorities that this machine trusts
    passed = {name: os.environ[name] for name in ("GOPROXY", "GOSUMDB", "GONOSUMDB") if name in os.environ}
    container = client.containers.run(
        image,
        list(INSTALL),
        environment=_go_environment("/build") | passed,
        volumes=volumes,
        network_mode="host",
        cpu_shares=256,
        labels={LABEL_MADE_BY: "dr"},
        detach=True,
    )
    try:
        if container.wait()["StatusCode"] != 0:
            raise _failed(container.logs(stdout=False).decode(errors="replace"))
    finally:
        container.remove(force=True)


def _failed(said: str) -> Unavailable:
    return Unavailable(
        "MinIO could not be compiled",
        where="; ".join(said.strip().splitlines()[-3:]),
        hint="is the Go module proxy reachable?",
        code="minio-build-failed",
    )
