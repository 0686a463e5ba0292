"""How objects are protected, as ``backup.objects`` and ``backup.second_store`` of ``stack.yaml`` state it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from domain.durations import Duration
from domain.fact import Fact
from domain.s3_store import BucketName, S3Store

RULE_ID = "dr-versions"
MOST_KEPT = 100
"""S3 keeps no more noncurrent versions by count."""


class ObjectsPolicy(Fact):
    """What of the object store is copied, and for how long what was removed there stays copied."""

    exclude: tuple[BucketName, ...] = ()
    """Buckets that are neither versioned by us nor copied."""
    keep_gone: Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=36_500))] = timedelta(
        days=30
    )
    """So long the copy keeps a version that the store itself no longer has."""


class SecondStore(S3Store):
    """Another S3 store that holds the copy of the objects."""

    storage_class: Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"] = "STANDARD"
    allow_http: bool = False
    """Accept a way without TLS: for a network that nobody else reads."""

    @model_validator(mode="after")
    def _prove_confidential(self) -> Self:
        if not self.confidential and not self.allow_http:
            raise ValueError("endpoint: objects would travel in clear; use https, or say allow_http: true")
        return self

    def place(self, stack: str) -> str:
        """Return where copies lie, as an entry records it: no secret is in it."""
        return f"{self.endpoint or f'AWS {self.region}'} {self.bucket}/{self.root(stack)}"


def versions_rule(keep_versions: int) -> dict[str, Any]:
    """Return the lifecycle rule that keeps so many older versions of each object, as S3 spells it."""
    return {
        "ID": RULE_ID,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        # S3 wants the days as well; a version is counted from the day on which it was replaced.
        "NoncurrentVersionExpiration": {
            "NoncurrentDays": 1,
            "NewerNoncurrentVersions": min(keep_versions, MOST_KEPT),
        },
    }


def says_the_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a rule that the store shows is the wanted one; stores add fields of their own."""
    parts = ("ID", "Status", "NoncurrentVersionExpiration")
    others = {"Expiration", "Transitions", "NoncurrentVersionTransitions"} & found.keys()
    # Without a prefix a rule is for the whole bucket, however the store spells that.
    chosen = dict(found.get("Filter") or {})
    whole = not chosen.pop("Prefix", "") and not chosen and not found.get("Prefix")
    return whole and not others and all(_holds(found.get(part), wanted[part]) for part in parts)


def _holds(found: object, wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(found.get(key) == value for key, value in wanted.items())
    return found == wanted
