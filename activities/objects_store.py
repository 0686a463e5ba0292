"""An object store as its copies see it: buckets with their versions, read and written over S3."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from activities.bucket_errors import code_of
from activities.tokens import require_admitted
from domain.errors import Refused, Unavailable
from domain.objects_copy import ObjectVersion
from domain.s3_store import MOST_PARTS

_BLOCK_BYTES = 1 << 20
_PART_BYTES = 64 << 20
_ABSENT = {"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "MethodNotAllowed", "405"}
_CHANGED = {"412", "PreconditionFailed"}
_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_NO_RULES = "NoSuchLifecycleConfiguration"
_SERVER = 500
_HEADERS = {
    "Content-Type": "ContentType",
    "Content-Encoding": "ContentEncoding",
    "Content-Language": "ContentLanguage",
    "Content-Disposition": "ContentDisposition",
    "Cache-Control": "CacheControl",
}
_OWN = "x-amz-meta-"


class GoneError(Exception):
    """What was listed is no longer there: its owner removed it meanwhile."""


@dataclass(frozen=True)
class Found:
    """An object that is being read."""

    metadata: dict[str, str]
    blocks: Iterator[bytes]


class ObjectStore:
    """One store. Every method raises ``Unavailable`` or ``Refused``."""

    def __init__(self, client: Any, name: str, endpoint: str) -> None:  # noqa: ANN401 - boto3's
        """``client`` is boto3's for S3; ``name`` says whose store it is."""
        self._client = client
        self._name = name
        self.endpoint = endpoint
        self.stopped = threading.Event()
        """Set, it ends every reading before its next block."""

    def buckets(self) -> list[str]:
        """Return the names of all buckets, sorted."""
        with self._speaking("its buckets"):
            return sorted(str(one["Name"]) for one in self._client.list_buckets().get("Buckets") or [])

    def ensure_bucket(self, bucket: str) -> None:
        """Make a bucket; one that is there is fine."""
        require_admitted()
        with self._speaking(bucket):
            try:
                self._client.create_bucket(Bucket=bucket)
            except ClientError as error:
                if code_of(error) not in _THERE:
                    raise

    def versioned(self, bucket: str) -> bool:
        """Tell whether what is replaced or deleted is kept as an older version."""
        with self._speaking(bucket):
            return str(self._client.get_bucket_versioning(Bucket=bucket).get("Status")) == "Enabled"

    def ensure_versioned(self, bucket: str) -> bool:
        """Keep older versions from now on; return whether that is new."""
        if self.versioned(bucket):
            return False
        require_admitted()
        with self._speaking(bucket):
            self._client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return True

    def rules(self, bucket: str) -> list[dict[str, Any]]:
        """Return the lifecycle rules of a bucket."""
        with self._speaking(bucket):
            try:
                found = self._client.get_bucket_lifecycle_configuration(Bucket=bucket)
            except ClientError as error:
                if code_of(error) == _NO_RULES:
                    return []
                raise
        return [dict(one) for one in found.get("Rules") or []]

    def set_rules(self, bucket: str, rules: list[dict[str, Any]]) -> None:
        """Replace the lifecycle rules of a bucket: the store takes all of them or none."""
        require_admitted()
        with self._speaking(bucket):
            self._client.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": rules}
            )

    def versions(self, bucket: str, prefix: str = "") -> Iterator[ObjectVersion]:
        """Yield every version and every delete marker below a prefix, without what only a read shows."""
        with self._speaking(bucket):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
            for page in pages:
                for one in page.get("Versions") or []:
                    yield _listed(
                        bucket, one, bytes=int(one["Size"]), etag=str(one.get("ETag") or "").strip('"')
                    )
                for one in page.get("DeleteMarkers") or []:
                    yield _listed(bucket, one, deleted=True)

    @contextmanager
    def reading(self, one: ObjectVersion) -> Iterator[Found]:
        """Read a version to its end. Raises ``GoneError`` when it is not there any more as it was listed."""
        given = {"Bucket": one.bucket, "Key": one.key, "VersionId": one.version}
        if one.etag:
            given["IfMatch"] = f'"{one.etag}"'
        with self._speaking(one.name):
            try:
                found = self._client.get_object(**given)
            except ClientError as error:
                if code_of(error) in _ABSENT | _CHANGED:
                    raise GoneError(one.name) from None
                raise
        with closing(found["Body"]) as body:
            yield Found(_metadata(found), self._blocks(body, one.name))

    def put(self, bucket: str, key: str, content: BinaryIO, size: int, metadata: Mapping[str, str]) -> None:
        """Store an object; in a bucket that keeps versions it becomes a new one."""
        require_admitted()
        part_bytes = max(_PART_BYTES, -(-size // MOST_PARTS))
        how = TransferConfig(
            multipart_threshold=part_bytes, multipart_chunksize=part_bytes, use_threads=False
        )
        with self._speaking(f"{bucket}/{key}"):
            self._client.upload_fileobj(content, bucket, key, ExtraArgs=_arguments(metadata), Config=how)

    def mark_deleted(self, bucket: str, key: str) -> None:
        """Set a delete marker: in a bucket that keeps versions nothing is removed."""
        require_admitted()
        with self._speaking(f"{bucket}/{key}"):
            self._client.delete_object(Bucket=bucket, Key=key)

    def _blocks(self, body: Any, name: str) -> Iterator[bytes]:  # noqa: ANN401 - botocore's stream
        with self._speaking(name):
            for block in body.iter_chunks(_BLOCK_BYTES):
                if self.stopped.is_set():
                    raise Unavailable("another transfer beside it failed", where=name, code="objects-stopped")
                yield block

    @contextmanager
    def _speaking(self, where: str) -> Iterator[None]:
        """Turn what the store or the way to it says into ``Refused`` or ``Unavailable``."""
        try:
            yield
        except ClientError as error:
            code = code_of(error)
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            said = str(error.response.get("Error", {}).get("Message", "")) or f"status {status}"
            if status >= _SERVER:
                raise self._away(f"is busy or ill: {code}: {said}", where) from None
            raise Refused(
                f"{self._name} refuses: {code}: {said}",
                where=where,
                hint="check the service's access_key and secret_key in stack.yaml, and what they may do",
                code="objects-refused",
            ) from None
        except (BotoCoreError, HTTPClientError, S3UploadFailedError, OSError) as error:
            raise self._away(f"does not answer: {type(error).__name__}", where) from None

    def _away(self, what: str, where: str) -> Unavailable:
        return Unavailable(f"{self._name} {what}", where=where, code="objects-unavailable")


def _listed(bucket: str, one: Mapping[str, Any], **given: Any) -> ObjectVersion:  # noqa: ANN401 - passed on
    return ObjectVersion(
        bucket=bucket,
        key=str(one["Key"]),
        version=str(one["VersionId"]),
        modified=one["LastModified"],
        current=bool(one["IsLatest"]),
        **given,
    )


def _metadata(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that belong to an object, by the names that HTTP has for them."""
    kept = {name: str(found[field]) for name, field in _HEADERS.items() if found.get(field)}
    return kept | {f"{_OWN}{key.lower()}": str(value) for key, value in (found.get("Metadata") or {}).items()}


def _arguments(metadata: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {_HEADERS[name]: value for name, value in metadata.items() if name in _HEADERS}
    own = {name.removeprefix(_OWN): value for name, value in metadata.items() if name.startswith(_OWN)}
    return given | ({"Metadata": own} if own else {})
