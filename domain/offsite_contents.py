"""The contents of copied objects off-site: each once, under a name that tells nobody what it is. Pure.

Sealed, a content is named by a keyed digest of its SHA-256. The plain one would tell whoever lists the
bucket whether it holds a file that he has himself.
"""

import hmac
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.objects_copy import CONTENTS, STORE, ObjectVersion
from domain.offsite import RULE_ID, OffsitePolicy, wanted_rule
from domain.offsite_copies import SEALED, context_of
from domain.sealing import KEY_BYTES, BackupKey, sealed_bytes

_RULE_ID = "dr-objects"
_NAMES = b"dr content names 1\x00"


def contents_root(policy: OffsitePolicy, stack: str) -> str:
    """Return the prefix of a stack's contents.

    It is beside that of the copies, which expire: a content is as old as the first copy that listed it, and
    the last one still needs it. No stack is called so.
    """
    return f"{policy.root(stack).removesuffix('/')}.objects/"


class ContentNames:
    """How contents are called on the far side, under one key or in clear."""

    def __init__(self, root: str, key: BackupKey | None) -> None:
        """``root`` is that of the contents."""
        self.key = key
        self._root = root
        self._under = HKDF(SHA256(), KEY_BYTES, None, _NAMES).derive(key.secret) if key else b""

    def of(self, sha256: str) -> str:
        """Return the name of the object that holds a content."""
        if self.key is None:
            return f"{self._root}{sha256[:2]}/{sha256}"
        name = hmac.digest(self._under, bytes.fromhex(sha256), "sha256").hex()
        return f"{self._root}{name[:2]}/{name}{SEALED}"

    def far_bytes(self, size: int) -> int:
        """Return how large the object of so many bytes is."""
        return size if self.key is None else sealed_bytes(size)


def names_under(root: str, keys: Sequence[BackupKey]) -> list[ContentNames]:
    """Return how contents are called under some keys; in clear without any."""
    return [ContentNames(root, key) for key in keys] or [ContentNames(root, None)]


def content_context(stack: str, sha256: str) -> str:
    """Return what a sealed content is bound to."""
    return context_of(stack, STORE, CONTENTS, sha256)


def contents_in(listed: Iterable[ObjectVersion]) -> dict[str, int]:
    """Return the contents that a listing names, with their sizes."""
    return {one.sha256: one.bytes for one in listed if one.sha256 and not one.deleted}


def wanted_rules(policy: OffsitePolicy, stack: str, *, archive: bool = True) -> list[dict[str, Any]]:
    """Return the lifecycle rules of a stack's copies and of its contents; those do not expire."""
    rules = [wanted_rule(policy, policy.root(stack), archive=archive)]
    if policy.objects:
        contents = wanted_rule(policy, contents_root(policy, stack), archive=archive)
        # Names of rules are cut off where they are too long, so that they differ in front.
        contents["ID"] = contents["ID"].replace(RULE_ID, _RULE_ID, 1)
        del contents["Expiration"]
        rules.append(contents)
    return rules
