"""An S3 store somewhere else, as ``offsite:`` and ``backup.second_store`` of ``stack.yaml`` describe one."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import ByteSize, Field, StringConstraints, model_validator

from domain.fact import Fact
from domain.secret_ref import SecretRef

MOST_PARTS = 10_000
"""What S3 takes of one object."""
_MEBI = 1024 * 1024
_LEAST_PART = 5 * _MEBI
_LARGEST_PART = 512 * _MEBI
_CONFIDENTIAL = re.compile(r"https://.*|http://(?:127\.0\.0\.1|localhost)(?::[0-9]+)?/?")

Endpoint = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/?$", max_length=300)
]
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_=-]*(/[A-Za-z0-9][A-Za-z0-9_=-]*)*)?$", max_length=200
    ),
]


class S3Store(Fact):
    """Where the store is, what opens it, and how large files go there."""

    endpoint: Endpoint | None = None
    """``None`` is AWS itself."""
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] = "us-east-1"
    bucket: BucketName
    prefix: Prefix = ""
    access_key: SecretRef
    secret_key: SecretRef
    session_token: SecretRef | None = None
    storage_class: str
    part_size: ByteSize = ByteSize(16 * _MEBI)
    """Larger files go in parts of this size; an upload that was cut off goes on at the first part missing."""
    parallel: Annotated[int, Field(ge=1, le=16)] = 4

    @model_validator(mode="after")
    def _prove_parts_possible(self) -> Self:
        if not _LEAST_PART <= self.part_size <= _LARGEST_PART:
            raise ValueError("part_size: from 5MiB to 512MiB")
        return self

    @property
    def confidential(self) -> bool:
        """Tell whether nobody on the way can read what is sent there."""
        return self.endpoint is None or _CONFIDENTIAL.fullmatch(self.endpoint) is not None

    @property
    def takes_sealed_alone(self) -> bool:
        """Tell whether nothing in clear may be written there."""
        return False

    def written_with(self, at: datetime) -> dict[str, Any]:  # noqa: ARG002 - others keep until then
        """Return how an object is written at an instant, as S3 spells it."""
        return {} if self.storage_class == "STANDARD" else {"StorageClass": self.storage_class}

    def root(self, stack: str) -> str:
        """Return the prefix of everything that belongs to a stack, with its slash at the end."""
        return f"{self.prefix}/{stack}/" if self.prefix else f"{stack}/"

    def part_bytes(self, size: int) -> int:
        """Return the size of the parts of an object: as wanted, or larger where S3 takes no more of them."""
        least = -(-size // MOST_PARTS)
        return max(int(self.part_size), -(-least // _MEBI) * _MEBI)


def merged(found: Iterable[Mapping[str, Any]], rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a bucket's lifecycle rules with ours in place: the store takes all of them or none."""
    return [dict(one) for one in found if one.get("ID") != rule["ID"]] + [dict(rule)]
