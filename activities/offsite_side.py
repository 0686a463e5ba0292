"""The way to the far side: the bucket of a policy with its secrets revealed, and the keys of ours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from activities.backup_keys import BackupKeys
from activities.bucket import Bucket
from activities.secrets import Secrets
from domain.offsite_copies import OffsiteOrder
from domain.s3_store import S3Store


@dataclass(frozen=True)
class FarAddress:
    """Where a store is, and what opens it."""

    endpoint: str | None
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


Connect = Callable[[FarAddress], Any]
"""Builds boto3's client for S3; the wiring gives it, tests give another."""


class FarSide:
    """Opens the bucket that an order names."""

    def __init__(self, secrets: Secrets, state: Path, connect: Connect) -> None:
        """``state`` is DR_STATE, where the keys are."""
        self._secrets = secrets
        self._connect = connect
        self.state = state
        self.keys = BackupKeys(state)

    def bucket(self, order: OffsiteOrder) -> Bucket:
        """Return the bucket; ``Refused`` (``secret-missing``) when a reference leads nowhere."""
        policy = order.policy
        return Bucket(self._connect(address_of(policy, self._secrets, order.target.project)), policy)


def address_of(store: S3Store, secrets: Secrets, project: str) -> FarAddress:
    """Return where a store is with its secrets; ``Refused`` (``secret-missing``) without one of them."""
    token = store.session_token
    return FarAddress(
        endpoint=store.endpoint,
        region=store.region,
        access_key=secrets.reveal(store.access_key, project),
        secret_key=secrets.reveal(store.secret_key, project),
        session_token=secrets.reveal(token, project) if token else None,
    )
