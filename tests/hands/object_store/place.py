"""One host with an object store, and the hands that copy it and bring it back."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import docker

from activities import stored
from activities.engine import ContainerState, Engine
from activities.objects_backup import ObjectBackups
from activities.objects_entry import read_listing, write_listing
from activities.objects_proof import ObjectsProof
from activities.objects_restore import ObjectsRestoring
from activities.objects_side import ObjectsSide
from activities.objects_store import ObjectStore
from activities.offsite_side import FarAddress
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.dumps import RestoreProven
from domain.entries import ENTRY, Entry, files_sha256
from domain.names import LABEL_STACK
from domain.objects_copy import LISTING, ObjectsBackupOrder, ObjectsProofOrder, ObjectVersion
from domain.objects_policy import SecondStore
from domain.objects_restore import ObjectsRestored, ObjectsRestoreOrder
from domain.order import ServiceTarget, Target
from domain.stack import Kind
from tests.hands.targets import bare_target
from worker.far_store import s3_client

ACCESS, SECRET = "access", "password-of-a-test"
COPIES = "copies"
_LABELS = itertools.count(1)


@dataclass(frozen=True)
class Servers:
    """The two stores."""

    client: docker.DockerClient
    project: str
    image: str
    container: str
    port: int
    second_port: int

    def s3(self, port: int = 0) -> Any:
        """Return a client of the live store, or of another one."""
        return s3_client(FarAddress(f"http://127.0.0.1:{port or self.port}", "us-east-1", ACCESS, SECRET))

    def empty(self) -> None:
        """Remove every bucket of both with all that is in it; then the second one has one for copies."""
        for port in (self.port, self.second_port):
            client = self.s3(port)
            for bucket in [one["Name"] for one in client.list_buckets()["Buckets"]]:
                for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
                    for one in [*(page.get("Versions") or []), *(page.get("DeleteMarkers") or [])]:
                        client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
                client.delete_bucket(Bucket=bucket)
        self.s3(self.second_port).create_bucket(Bucket=COPIES)


@dataclass(frozen=True)
class Place:
    """One host: its shelf, its state, and where its copies go."""

    servers: Servers
    state: Path
    shelf: Path
    second: SecondStore | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    def with_second(self, **changes: Any) -> "Place":
        """Return the same host with a second store."""
        given = {
            "endpoint": f"http://127.0.0.1:{self.servers.second_port}",
            "bucket": COPIES,
            "prefix": "objects-of",
            "access_key": "env:SECOND_ACCESS",
            "secret_key": "env:SECOND_SECRET",
        }
        return replace(self, second=SecondStore.model_validate(given | changes))

    @cached_property
    def engine(self) -> Engine:
        return Engine(self.servers.client)

    @cached_property
    def side(self) -> ObjectsSide:
        secrets = Secrets(self.engine, {"SECOND_ACCESS": ACCESS, "SECOND_SECRET": SECRET})
        return ObjectsSide(self.engine, secrets, s3_client)

    @cached_property
    def s3(self) -> Any:
        return self.servers.s3()

    @cached_property
    def far(self) -> Any:
        return self.servers.s3(self.servers.second_port)

    @property
    def target(self) -> Target:
        """Return a target of which the object store is real, and of PostgreSQL only the names."""
        raw = self.servers.client.api.inspect_container(self.servers.container)
        store = ServiceTarget(
            name="minio",
            kind=Kind.OBJECTS,
            container_id=raw["Id"],
            container_name=raw["Name"].lstrip("/"),
            image=raw["Config"]["Image"],
            image_id=raw["Image"],
            state="running",
            published={"9000": self.servers.port},
            secrets={
                "access_key": "container:minio:MINIO_ROOT_USER",
                "secret_key": "container:minio:MINIO_ROOT_PASSWORD",
            },
        )
        name = self.servers.project
        return bare_target(self.shelf, store, stack=name, project=name)

    def live(self) -> ObjectStore:
        """Return the live store as the hands see it."""
        return self.side.live(self.target, self.target.services[0])

    def parts(self) -> tuple[ObjectsSide, Tokens, Path]:
        """Return what the hands are made of."""
        return self.side, Tokens(self.state), self.state

    def order(self, **other: Any) -> ObjectsBackupOrder:
        """Return the order for a copy that was never taken."""
        usual: dict[str, Any] = {
            "target": self.target,
            "label": f"copy {next(_LABELS)}",
            "second_store": self.second,
        }
        return ObjectsBackupOrder.model_validate(usual | self.changes | other)

    def copy(self, **other: Any) -> Entry:
        """Copy the objects."""
        (entry,) = ObjectBackups(*self.parts()).ensure_objects_backup(self.order(**other)).entries
        return entry

    def proven(self, entry: Entry) -> RestoreProven:
        """Prove a copy by restoring it."""
        return ObjectsProof(*self.parts()).verify_objects_restored(self.proof_order(entry.id))

    def read(self, entry: Entry) -> Entry:
        """Prove a copy by reading all of it."""
        return ObjectsProof(*self.parts()).verify_objects_copy(self.proof_order(entry.id))

    def proof_order(self, entry_id: str) -> ObjectsProofOrder:
        """Return the order to prove a copy."""
        return ObjectsProofOrder(target=self.target, entry_id=entry_id, second_store=self.second)

    def restore(self, bucket: str = "uploads", **other: Any) -> ObjectsRestored:
        """Bring objects back."""
        order = ObjectsRestoreOrder.model_validate(
            {"target": self.target, "bucket": bucket, "second_store": self.second} | other
        )
        return ObjectsRestoring(*self.parts()).ensure_objects_restored(order)

    def put(self, bucket: str, key: str, content: bytes, **other: Any) -> datetime:
        """Put an object, and return when that was by the store's clock."""
        self.s3.put_object(Bucket=bucket, Key=key, Body=content, **other)
        (newest, *_) = self.s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
        return newest["LastModified"]  # type: ignore[no-any-return]  # boto3 has no types

    def content(self, bucket: str, key: str) -> bytes:
        """Return what users get."""
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()  # type: ignore[no-any-return]

    def keys(self, bucket: str) -> list[str]:
        """Return what users see."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=bucket).get("Contents") or []]

    def listing(self, entry: Entry) -> list[ObjectVersion]:
        """Return the listing of a copy."""
        return read_listing(self.shelf / entry.path / LISTING)

    def relist(self, entry: Entry, versions: list[ObjectVersion]) -> None:
        """Replace the listing of a copy as somebody would who lets the entry's list of files agree."""
        directory = self.shelf / entry.path
        write_listing(directory / LISTING, versions)
        files = stored.stored_files(directory)
        whole = Entry.model_validate_json((directory / ENTRY).read_text())
        facts = {"files": files, "sha256": files_sha256(files), "bytes": sum(file.bytes for file in files)}
        (directory / ENTRY).write_text(whole.model_copy(update=facts).model_dump_json())

    def contents(self) -> dict[str, Path]:
        """Return the contents on the shelf."""
        return {path.name: path for path in (self.shelf / "minio" / "objects").glob("??/*")}

    def far_keys(self) -> dict[str, int]:
        """Return what lies in the second store."""
        found = self.far.list_objects_v2(Bucket=COPIES).get("Contents") or []
        return {one["Key"]: one["Size"] for one in found}

    def left(self) -> list[ContainerState]:
        """Return the containers that hands of ours left."""
        return self.engine.labelled(f"{LABEL_STACK}={self.servers.project}")
