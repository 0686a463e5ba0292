"""Makes the far bucket what copies need: reachable, keeping versions, moving and expiring them in time."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from temporalio import activity

from activities.bucket import Bucket
from activities.offsite_side import FarSide
from activities.tokens import Tokens
from domain.errors import DrError, Refused
from domain.offsite import early_expiry
from domain.offsite_contents import contents_root, wanted_rules
from domain.offsite_copies import OffsiteOrder
from domain.recovery import Judged, Proof
from domain.s3_store import merged

_PARTS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "Transitions")
_SAID = {
    "Expiration": "expiry",
    "NoncurrentVersionExpiration": "expiry of older versions",
    "AbortIncompleteMultipartUpload": "an end of broken uploads",
    "Transitions": "a move into the archive",
}


class OffsiteReadiness:
    """Looks at the bucket and corrects what the policy asks for; removes nothing and no rule of others."""

    def __init__(self, side: FarSide, tokens: Tokens) -> None:
        """Reach the bucket through ``side``."""
        self._side = side
        self._tokens = tokens

    @activity.defn(no_thread_cancel_exception=True)
    def observe_offsite_reach(self, order: OffsiteOrder) -> Judged:
        """Return whether copies could be made now; a look that fails is a red line, not an error."""
        looks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("off-site store", lambda: self._reached(order)),
            ("key for off-site copies", lambda: self._key(order)),
        )
        proofs = []
        for name, look in looks:
            try:
                proofs.append(Proof(name=name, passed=True, evidence=look()))
            except DrError as error:
                proofs.append(Proof(name=name, passed=False, evidence=str(error)))
        passed = all(proof.passed for proof in proofs)
        said = "copies can leave" if passed else "no copy can leave this host"
        return Judged(sentence=said, passed=passed, proofs=tuple(proofs))

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_offsite_ready(self, order: OffsiteOrder) -> Judged:
        """Bring the bucket in line with the policy; what the store does not offer is said.

        Raises ``Refused``: ``offsite-expires-early`` when a rule of others would remove copies before a
        year is over, ``offsite-no-lock``, ``offsite-no-versioning`` and ``offsite-no-lifecycle`` for what
        the policy demands, ``backup-key-missing``.
        """
        self._tokens.admit(order, order.target.stack)
        bucket = self._side.bucket(order)
        proofs = (
            Proof(name="bucket", passed=True, evidence=self._reached(order, bucket)),
            Proof(name="key", passed=True, evidence=self._key(order)),
            _versioning(order, bucket),
            _lifecycle(order, bucket),
            _lock(order, bucket),
        )
        missing = [f"{proof.name}: {proof.evidence}" for proof in proofs if proof.passed is not True]
        sentence = f"The bucket {order.policy.bucket} is ready"
        return Judged(
            sentence=f"{sentence}; not offered: {'; '.join(missing)}" if missing else sentence,
            passed=True,
            proofs=proofs,
        )

    def _reached(self, order: OffsiteOrder, bucket: Bucket | None = None) -> str:
        (bucket or self._side.bucket(order)).reach()
        return f"{order.policy.endpoint or f'AWS {order.policy.region}'}, bucket {order.policy.bucket}"

    def _key(self, order: OffsiteOrder) -> str:
        if not order.policy.encrypt:
            return "not asked for: copies leave in clear, on an encrypted way"
        return f"sealed with {self._side.keys.current().id}"


def _versioning(order: OffsiteOrder, bucket: Bucket) -> Proof:
    try:
        if not bucket.versioned():
            bucket.ensure_versioned()
        return Proof(name="versions", passed=True, evidence="what is replaced is kept")
    except Refused as refused:
        if "versioning" in order.policy.demand:
            raise _demanded("keeps no versions", refused, "offsite-no-versioning") from None
        return Proof(name="versions", passed=None, evidence=refused.what)


def _lifecycle(order: OffsiteOrder, bucket: Bucket) -> Proof:
    policy, stack = order.policy, order.target.stack
    try:
        found = bucket.rules()
    except Refused as refused:
        return _no_lifecycle(order, refused)
    early = early_expiry(found, policy.root(stack))
    early = early or (early_expiry(found, contents_root(policy, stack)) if policy.objects else None)
    if early:
        raise Refused(
            f"{early}, before their year is over",
            where=order.policy.bucket,
            hint="limit that rule to another prefix, or give copies a bucket of their own",
            code="offsite-expires-early",
        )
    refusal: Refused | None = None
    for archive in (True, False):
        wanted = wanted_rules(policy, stack, archive=archive)
        try:
            if any(_missing_of(rule, found) for rule in wanted):
                bucket.set_rules(reduce(merged, wanted, found))
                found = bucket.rules()
        except Refused as refused:
            refusal = refused
            continue
        missing = list(
            dict.fromkeys(m for rule in wanted_rules(policy, stack) for m in _missing_of(rule, found))
        )
        if not missing:
            return Proof(name="lifecycle", passed=True, evidence=_told(order))
        return Proof(name="lifecycle", passed=None, evidence=f"without {', '.join(missing)}")
    return _no_lifecycle(order, refusal or Refused("no rule was taken", code="offsite-refused"))


def _no_lifecycle(order: OffsiteOrder, refused: Refused) -> Proof:
    if "lifecycle" in order.policy.demand:
        raise _demanded("takes no rules for the life of copies", refused, "offsite-no-lifecycle") from None
    return Proof(name="lifecycle", passed=None, evidence=refused.what)


def _missing_of(wanted: Mapping[str, Any], found: list[dict[str, Any]]) -> list[str]:
    """Return in words what of the wanted rule the bucket does not have."""
    there: Mapping[str, Any] = next((one for one in found if one.get("ID") == wanted["ID"]), {})
    if there.get("Status") != "Enabled":
        there = {}
    return [_SAID[part] for part in _PARTS if part in wanted and not _holds(there.get(part), wanted[part])]


def _holds(there: object, wanted: object) -> bool:
    """Tell whether an answer says what was asked for; stores add fields of their own."""
    if isinstance(wanted, list):
        return isinstance(there, list) and all(any(_holds(t, w) for t in there) for w in wanted)
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(there.get(key), wanted[key]) for key in wanted)
    return there == wanted


def _told(order: OffsiteOrder) -> str:
    life = order.policy.lifecycle
    moved = f"{life.archive_class} after {life.glacier_after.days} days, " if life.glacier_after else ""
    return f"{moved}expiry after {life.expire_after.days} days"


def _lock(order: OffsiteOrder, bucket: Bucket) -> Proof:
    wanted = order.policy.object_lock
    if wanted is None:
        return Proof(name="object lock", passed=True, evidence="not asked for")
    if not bucket.lockable():
        raise Refused(
            "the bucket cannot lock objects, and the policy demands it",
            where=order.policy.bucket,
            hint="object lock is chosen when a bucket is made: make another one",
            code="offsite-no-lock",
        )
    return Proof(name="object lock", passed=True, evidence=f"{wanted.mode} for {wanted.days} days")


def _demanded(what: str, refused: Refused, code: str) -> Refused:
    return Refused(
        f"the far store {what}, and the policy demands it: {refused.what}",
        where=refused.where,
        hint="take another store, or take it from 'demand' under offsite in stack.yaml",
        code=code,
    )
