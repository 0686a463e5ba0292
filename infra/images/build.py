"""Finds, pulls or builds the images, in the background where the caller wants to go on."""

from __future__ import annotations

import fcntl
import io
import re
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from domain.errors import Unavailable
from domain.names import LABEL_MADE_BY, LABEL_ROLE
from infra.images.base import import_base
from infra.images.minio import minio_program
from infra.images.recipes import BASE, LAB_IMAGES, RECIPES, Recipe, digest, repository

Progress = Callable[[str, float | None], None]
PROBE_SECONDS = 3
PARALLEL_BUILDS = 2


def silent(_line: str, _fraction: float | None) -> None:
    """Progress callback of callers that show nothing."""


class Images:
    """The images on one Docker engine.

    ``ensure`` blocks until an image is there; ``start`` begins work in the background and ``future`` lets
    the caller wait for one image while another still compiles. Safe to use from several threads, and from
    several processes that share the cache.
    """

    def __init__(self, client: docker.DockerClient, cache: Path, progress: Progress = silent) -> None:
        self._client = client
        self._cache = cache
        self._progress = progress
        self._lock = threading.Lock()
        self._futures: dict[str, Future[str]] = {}
        # One thread an image: most of them only wait for the image they stand on.
        self._threads = ThreadPoolExecutor(max_workers=len(RECIPES), thread_name_prefix="image")
        self._slots = threading.BoundedSemaphore(PARALLEL_BUILDS)
        self._registry: bool | None = None
        cache.mkdir(parents=True, exist_ok=True)

    def registry_answers(self) -> bool:
        """Say whether an image registry answers; asked once, for three seconds at most."""
        with self._lock:
            if self._registry is None:
                self._registry = _probe_registry(str(RECIPES["redis"].pulled))
            return self._registry

    def reference(self, name: str) -> str:
        """Return the reference of an image, whether it is there already or not."""
        recipe = RECIPES[name]
        if recipe.pulled and self.registry_answers():
            return recipe.pulled
        base = self.reference(recipe.base) if recipe.base else ""
        return f"{repository(name)}:{digest(name, base)}"

    def present(self, name: str) -> bool:
        """Say whether an image is there already."""
        try:
            self._client.images.get(self.reference(name))
        except ImageNotFound:
            return False
        return True

    def start(self, names: Iterable[str] = LAB_IMAGES) -> None:
        """Begin to make the images in the background, in the given order."""
        for name in names:
            self.future(name)

    def future(self, name: str) -> Future[str]:
        """Return the future reference of an image and begin to make it when nobody has yet."""
        with self._lock:
            if name not in self._futures:
                self._futures[name] = self._threads.submit(self._make, name)
            return self._futures[name]

    def ensure(self, name: str) -> str:
        """Return the reference of an image that is there; raises ``Unavailable`` or ``Refused``."""
        return self.future(name).result()

    def ready(self) -> dict[str, str]:
        """Return the references of all images that the lab and the product need, made if necessary."""
        self.start()
        return {name: self.ensure(name) for name in LAB_IMAGES}

    def _make(self, name: str) -> str:
        reference = self.reference(name)
        if self.present(name):
            return reference
        recipe = RECIPES[name]
        if recipe.base and not (recipe.pulled and self.registry_answers()):
            self.ensure(recipe.base)
        with self._one_process(name):
            if not self.present(name):
                self._make_absent(recipe, reference)
        self._progress(f"image {name} is ready", 1.0)
        return reference

    def _make_absent(self, recipe: Recipe, reference: str) -> None:
        if recipe.pulled and self.registry_answers():
            self._progress(f"pulling {reference}", None)
            self._client.images.pull(reference)
        elif recipe.name == BASE:
            self._progress("bootstrapping the base image", None)
            with self._slots:
                import_base(self._client, reference, self._cache)
        else:
            program = self._program() if recipe.name == "minio" else None
            with self._slots, tempfile.TemporaryFile(dir=self._cache) as context:
                write_context(recipe, context, program)
                self._build(recipe, reference, context)

    def _program(self) -> Path:
        self._progress("compiling MinIO (about three minutes, once)", None)
        return minio_program(self._client, self._cache, lambda: self.ensure("go"))

    def _build(self, recipe: Recipe, reference: str, context: BinaryIO) -> None:
        base = self.reference(recipe.base or BASE)
        stream = self._client.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile="Dockerfile.recipe",
            tag=reference,
            rm=True,
            forcerm=True,
            network_mode="host",
            labels={LABEL_MADE_BY: "dr", **({LABEL_ROLE: "tools"} if recipe.name == "tools" else {})},
            buildargs={"BASE": base, **recipe.build_args},
            decode=True,
        )
        tail: list[str] = []
        for line in cast("Iterator[dict[str, Any]]", stream):
            said = str(line.get("stream", "")).strip()
            tail = [*tail, said][-8:] if said else tail
            if step := re.match(r"Step (\d+)/(\d+)", said):
                self._progress(f"building {recipe.name}", (int(step[1]) - 1) / int(step[2]))
            if "error" in line:
                raise Unavailable(
                    f"image {recipe.name} could not be built: {line['error']}",
                    where="; ".join(tail),
                    hint="is the package archive reachable?",
                    code="image-build-failed",
                )

    @contextmanager
    def _one_process(self, name: str) -> Iterator[None]:
        with (self._cache / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def write_context(recipe: Recipe, target: BinaryIO, program: Path | None) -> None:
    """Write the build context as a tar archive: the Dockerfile, the recipe's files and one program."""
    with tarfile.open(fileobj=target, mode="w") as archive:
        text = recipe.dockerfile.read_bytes()
        member = tarfile.TarInfo("Dockerfile.recipe")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
        ignore = b"Dockerfile.recipe\n.dockerignore\n"
        member = tarfile.TarInfo(".dockerignore")
        member.size = len(ignore)
        archive.addfile(member, io.BytesIO(ignore))
        for inside, path in recipe.context_files():
            archive.add(path, arcname=inside, filter=_anonymous)
        if program:
            archive.add(program, arcname="minio", filter=_anonymous)
    target.seek(0)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # Times and owners of the checkout would spoil the engine's layer cache.
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    return member


def _probe_registry(tag: str) -> bool:
    try:
        with closing(docker.from_env(timeout=PROBE_SECONDS)) as client:
            client.images.get_registry_data(tag)
    except (APIError, DockerException, OSError):
        return False
    return True


def remove_images(client: docker.DockerClient) -> list[str]:
    """Remove exactly the images that carry our label; returns their references."""
    gone: list[str] = []
    images = client.images.list(filters={"label": f"{LABEL_MADE_BY}=dr"})
    # An image can go only after those that stand on it.
    for image in sorted(images, key=lambda one: str(one.attrs.get("Created")), reverse=True):
        for tag in image.tags or [str(image.id)]:
            try:
                client.images.remove(tag)
            except APIError:
                continue
            gone.append(tag)
    return gone
