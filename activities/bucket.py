"""A bucket of the far store: the few things we ask of it, and the one place where bytes leave this host."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from activities.bucket_errors import code_of, speaking
from activities.tokens import require_admitted
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.s3_store import S3Store
from domain.sealing import MAGIC

_BLOCK_BYTES = 1024 * 1024
_MISSING = {"404", "NoSuchKey", "NotFound"}
_NEVER_MADE = {
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
_UNCONDITIONAL = {"NotImplemented", "501"}
_RESTORE_DAYS = 7

Require = Callable[[bytes, int], None]
"""Raises when these bytes must not leave; told at which place of the object they stand."""


@dataclass(frozen=True)
class FarObject:
    """An object as a listing shows it."""

    key: str
    bytes: int
    storage_class: str
    modified: datetime | None


@dataclass(frozen=True)
class Head:
    """An object as a look at it shows it."""

    bytes: int
    checksum: str
    """SHA-256 in base64, of the parts' digests with ``-N`` behind it, or empty."""
    storage_class: str
    locked_until: datetime | None
    sse: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """A part that arrived."""

    number: int
    bytes: int
    etag: str
    checksum: str


class Bucket:
    """One bucket of one store. Every method raises ``Unavailable`` or ``Refused``.

    There is no method that removes or replaces anything, on purpose (F-C13).
    """

    def __init__(self, client: Any, store: S3Store) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
        """``client`` is boto3's for S3, or one that answers like it."""
        self._client = client
        self._store = store
        self._name = {"Bucket": store.bucket}
        self._conditional = True

    def head(self, key: str) -> Head | None:
        """Return what is there under a name, or ``None``."""
        with speaking(key):
            try:
                found = self._client.head_object(**self._name, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise
        return Head(
            bytes=int(found["ContentLength"]),
            checksum=str(found.get("ChecksumSHA256") or ""),
            storage_class=str(found.get("StorageClass") or "STANDARD"),
            locked_until=found.get("ObjectLockRetainUntilDate"),
            sse=str(found.get("ServerSideEncryption") or "none"),
            metadata={str(key).lower(): str(value) for key, value in (found.get("Metadata") or {}).items()},
        )

    def put(self, key: str, body: bytes, metadata: Mapping[str, str], require: Require) -> bool:
        """Store an object in one request; false when there is one of this name already."""
        self._let_go(body, 0, require)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        given = {
            "Body": body,
            "Metadata": dict(metadata),
            **_stating(digest),
            **self._store.written_with(datetime.now(UTC)),
        }
        return self._unless_there(self._client.put_object, Key=key, **given)

    def begin(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts; return its id."""
        require_admitted()
        with speaking(key):
            made = self._client.create_multipart_upload(
                **self._name,
                Key=key,
                ChecksumAlgorithm="SHA256",
                Metadata=dict(metadata),
                **self._store.written_with(datetime.now(UTC)),
            )
        return str(made["UploadId"])

    def begun(self, key: str) -> str | None:
        """Return the id of the newest upload of this name that was never finished, or ``None``."""
        with speaking(key):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(**self._name, Prefix=key)
            found = [one for page in pages for one in page.get("Uploads") or [] if one["Key"] == key]
        return str(max(found, key=lambda one: one["Initiated"])["UploadId"]) if found else None

    def parts(self, key: str, upload: str) -> dict[int, Part]:
        """Return the parts of an upload that arrived, by their numbers."""
        with speaking(key):
            pages = self._client.get_paginator("list_parts").paginate(**self._name, Key=key, UploadId=upload)
            found = [one for page in pages for one in page.get("Parts") or []]
        return {
            int(one["PartNumber"]): Part(
                int(one["PartNumber"]),
                int(one["Size"]),
                str(one["ETag"]),
                str(one.get("ChecksumSHA256") or ""),
            )
            for one in found
        }

    def put_part(
        self, key: str, upload: str, number: int, body: bytes, offset: int, require: Require
    ) -> Part:
        """Send one part; ``offset`` is its place in the object."""
        self._let_go(body, offset, require)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        with speaking(f"{key}, part {number}"):
            sent = self._client.upload_part(
                **self._name, Key=key, UploadId=upload, PartNumber=number, Body=body, **_stating(digest)
            )
        return Part(number, len(body), str(sent["ETag"]), digest)

    def complete(self, key: str, upload: str, parts: list[Part]) -> bool:
        """Make an object of its parts; false when there is one of this name already."""
        require_admitted()
        listed = [{"PartNumber": p.number, "ETag": p.etag, "ChecksumSHA256": p.checksum} for p in parts]
        return self._unless_there(
            self._client.complete_multipart_upload,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": listed},
        )

    def get(self, key: str, *, first_bytes: int | None = None) -> Iterator[bytes]:
        """Yield an object, or its beginning.

        Raises ``BackupUnusable`` (``offsite-damaged``) when it is not there, and ``Unavailable``
        (``offsite-archived``) when it sleeps.
        """
        extra = {"Range": f"bytes=0-{first_bytes - 1}"} if first_bytes else {}
        with speaking(key):
            try:
                found = self._client.get_object(**self._name, Key=key, **extra)
            except ClientError as error:
                if code_of(error) == "InvalidObjectState":
                    raise self._asked_back(key) from None
                if code_of(error) in _MISSING:
                    raise _gone(key) from None
                raise
            with closing(found["Body"]) as body:
                yield from body.iter_chunks(_BLOCK_BYTES)

    def listed(self, prefix: str, *, after: str = "") -> Iterator[FarObject]:
        """Yield the objects below a prefix in the order of their names, or those behind a name."""
        given = {**self._name, "Prefix": prefix} | ({"StartAfter": after} if after else {})
        with speaking(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(**given):
                for one in page.get("Contents") or []:
                    kept = str(one.get("StorageClass") or "STANDARD")
                    yield FarObject(str(one["Key"]), int(one["Size"]), kept, one.get("LastModified"))

    def reach(self) -> None:
        """Return when the bucket is there and lets us in."""
        with speaking(self._store.bucket):
            try:
                self._client.head_bucket(**self._name)
            except ClientError as error:
                if code_of(error) == "404":
                    error.response["Error"]["Code"] = "NoSuchBucket"
                raise

    def versioned(self) -> bool:
        """Tell whether older versions of an object are kept."""
        with speaking(self._store.bucket):
            return str(self._client.get_bucket_versioning(**self._name).get("Status")) == "Enabled"

    def ensure_versioned(self) -> None:
        """Keep older versions from now on."""
        require_admitted()
        with speaking(self._store.bucket):
            self._client.put_bucket_versioning(**self._name, VersioningConfiguration={"Status": "Enabled"})

    def rules(self) -> list[dict[str, Any]]:
        """Return the lifecycle rules."""
        found = self._setting(self._client.get_bucket_lifecycle_configuration)
        return [dict(one) for one in found.get("Rules") or []]

    def set_rules(self, rules: list[dict[str, Any]]) -> None:
        """Replace the lifecycle rules."""
        require_admitted()
        with speaking(self._store.bucket):
            self._client.put_bucket_lifecycle_configuration(
                **self._name, LifecycleConfiguration={"Rules": rules}
            )

    def lockable(self) -> bool:
        """Tell whether the bucket can hold objects that nobody may remove."""
        found = self._setting(self._client.get_object_lock_configuration)
        return (found.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"

    def _setting(self, ask: Callable[..., Any]) -> Mapping[str, Any]:
        with speaking(self._store.bucket):
            try:
                found: Mapping[str, Any] = ask(**self._name)
            except ClientError as error:
                if code_of(error) in _NEVER_MADE:
                    return {}
                raise
        return found

    def _unless_there(self, act: Callable[..., Any], **given: Any) -> bool:  # noqa: ANN401 - passed on
        """Write under a name that is free; a store that knows no conditions was looked at just before."""
        with speaking(given["Key"]):
            try:
                act(**self._name, **given, **({"IfNoneMatch": "*"} if self._conditional else {}))
            except ClientError as error:
                if code_of(error) in {"PreconditionFailed", "412"}:
                    return False
                if not self._conditional or code_of(error) not in _UNCONDITIONAL:
                    raise
            else:
                return True
            self._conditional = False
            act(**self._name, **given)
        return True

    def _let_go(self, body: bytes, offset: int, require: Require) -> None:
        """Let bytes leave this host. Nothing else here sends any; ``require`` sees them as they go."""
        if self._store.takes_sealed_alone and offset == 0 and not body.startswith(MAGIC):
            raise Refused(
                "something in clear was about to leave this host though encryption was asked for; it did not",
                hint="this is a defect: please report it",
                code="offsite-clear-data",
            )
        require(body, offset)
        require_admitted()

    def _asked_back(self, key: str) -> Unavailable:
        """Ask for an object that sleeps in an archive; asking again is fine."""
        try:
            self._client.restore_object(**self._name, Key=key, RestoreRequest={"Days": _RESTORE_DAYS})
        except ClientError as error:
            if code_of(error) != "RestoreAlreadyInProgress":
                raise
        return Unavailable(
            "it sleeps in the archive of the far store and was asked back; that takes hours",
            where=key,
            hint="run the same again later; what came already is kept",
            code="offsite-archived",
        )


def _stating(digest: str) -> dict[str, str]:
    """Return the checksum as stores want it: some take it only with the name of its algorithm."""
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": digest}


def _gone(key: str) -> BackupUnusable:
    return BackupUnusable(
        "an object is missing in the far store",
        where=key,
        hint="take another copy; a bucket with versions may hold it still",
        code="offsite-damaged",
    )
