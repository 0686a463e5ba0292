"""Whether far copies would open with the keys of this host, as the objects themselves say; none is read."""

from collections.abc import Iterable

from activities.bucket import Bucket
from activities.pulse import beat
from activities.sealing import FindKey
from domain.errors import DrError
from domain.offsite_copies import FarEntry, OffsiteOrder, entry_root, manifest_key

KEY_ID = "dr-key-id"
"""Beside each sealed object; it can be asked for in an archive class too."""
_DAY = len("YYYYMMDD")


def unopened(order: OffsiteOrder, bucket: Bucket, find: FindKey, entries: Iterable[FarEntry]) -> list[str]:
    """Return which keys are missing or unusable here, a sentence each with a copy that needs it.

    Of each day one finished copy is asked, whatever it is: one key seals them all, and is changed seldom.
    Raises ``Unavailable`` and ``Refused`` where the store does not let us look.
    """
    if not order.policy.encrypt:
        return []
    asked: set[str] = set()
    missing: dict[str, str] = {}
    for entry in entries:
        day = entry.id[:_DAY]
        if not entry.finished or day in asked:
            continue
        asked.add(day)
        beat(f"off-site keys: {len(asked)} days")
        key_id = _key_of(order, bucket, entry)
        problem = _problem(find, key_id) if key_id and key_id not in missing else ""
        if problem:
            missing[key_id] = f"{entry.store} {entry.id} cannot be opened here: {problem}"
    return list(missing.values())


def _key_of(order: OffsiteOrder, bucket: Bucket, entry: FarEntry) -> str:
    root = order.policy.root(order.target.stack)
    head = bucket.head(manifest_key(entry_root(root, entry.store, entry.kind, entry.id), sealed=True))
    return head.metadata.get(KEY_ID, "") if head is not None else ""


def _problem(find: FindKey, key_id: str) -> str:
    try:
        find(key_id)
    except DrError as error:
        return error.what
    return ""
