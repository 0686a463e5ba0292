"""Objects brought back: what is asked for, and what was done."""

from typing import Self

from pydantic import AwareDatetime, model_validator

from domain.inert import Quoted
from domain.objects_policy import SecondStore
from domain.order import Outcome, TargetOrder
from domain.s3_store import BucketName

LISTED = 100
"""So many names are in an answer at most."""


class ObjectsRestoreOrder(TargetOrder):
    """Bring a bucket, what begins with a prefix, or one object back to what it was.

    A restored object is a new version: what is there stays there, under it.
    """

    service: str = ""
    """Name of the service; empty when the target has one of the kind."""
    bucket: BucketName
    prefix: str = ""
    key: str = ""
    """One object alone; then there is no prefix."""
    at: AwareDatetime | None = None
    """As it was at this instant; ``None`` is as the copy has it."""
    entry_id: str = ""
    """From which copy; empty is from the older versions that the store itself has."""
    second_store: SecondStore | None = None

    @model_validator(mode="after")
    def _prove_one_meaning(self) -> Self:
        if self.key and self.prefix:
            raise ValueError("key: one object is asked for, and a prefix too")
        if not self.entry_id and self.at is None:
            raise ValueError("at: without a copy the instant has to be said")
        return self

    def covers(self, key: str) -> bool:
        """Tell whether an object is asked for."""
        return key == self.key if self.key else key.startswith(self.prefix)


class ObjectsRestored(Outcome):
    """What was brought back; names are cut off after a hundred, the counts are not."""

    looked_at: int
    same: int
    """Read, and they are what they should be."""
    restored: int
    restored_names: tuple[Quoted, ...] = ()
    surplus: int = 0
    """There now and not at that instant; they were left."""
    surplus_names: tuple[Quoted, ...] = ()
    bytes: int = 0
