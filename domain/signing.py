"""Signed decisions: Ed25519 over one canonical text that names run, gate, brief and person.

Everything here is computation alone, so that a workflow may do it and a replay comes to the same answer.
"""

import base64
import binascii
import contextlib
import json
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import Refused
from domain.fact import Fact

PREFIX = "ed25519:"
LONGEST_LIFE = timedelta(days=1)
"""A signature that could be kept for longer is refused."""
SKEW = timedelta(minutes=5)
"""How far the clock of the person who signs may be ahead."""
_KEY_BYTES = 32


class Statement(Fact):
    """What a person signs. The texts are signed as they are sent: nothing is parsed before."""

    run: str
    """Temporal's id of the run."""
    gate: str
    """The gate; for the other verbs the parked step, or empty."""
    digest: str
    decision: str
    by: str
    issued: str
    """ISO 8601 with a zone."""
    expires: str
    nonce: str

    def canonical(self) -> bytes:
        """Return the signed bytes: JSON in ASCII, keys sorted, no spaces."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":")).encode("ascii")


def public_key_limitation(text: str) -> str | None:
    """Return why a text is no public key, or ``None``."""
    try:
        _public(text)
    except ValueError as error:
        return str(error)
    return None


def verified(statement: Statement, signature: str, keys: tuple[str, ...]) -> bool:
    """Tell whether one of the public keys made the signature over exactly this statement."""
    try:
        made = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return False
    for key in keys:
        try:
            _public(key).verify(made, statement.canonical())
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


def time_limitation(issued: str, expires: str, now: datetime) -> str | None:
    """Return why a signature is not valid at this instant, or ``None``."""
    try:
        since, until = datetime.fromisoformat(issued), datetime.fromisoformat(expires)
    except ValueError:
        return "'issued' and 'expires' must be times in ISO 8601"
    if since.tzinfo is None or until.tzinfo is None:
        return "'issued' and 'expires' must name their zone"
    if since > now + SKEW:
        return f"it was signed in the future ({issued})"
    if until <= now:
        return f"the signature expired at {expires}"
    if until - since > LONGEST_LIFE:
        return f"a signature may be valid for {LONGEST_LIFE.days} day at most"
    return None


def sign(statement: Statement, private_pem: bytes) -> str:
    """Return the signature in base64. Raises ``Refused`` when the key cannot be used."""
    return base64.b64encode(_private(private_pem).sign(statement.canonical())).decode("ascii")


def public_of(private_pem: bytes) -> str:
    """Return the public key as ``stack.yaml`` states it."""
    raw = (
        _private(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    )
    return PREFIX + base64.b64encode(raw).decode("ascii")


def private_pem(seed: bytes) -> bytes:
    """Return a private key file made of 32 random bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(
            "the key file holds no Ed25519 private key", hint="make one with dr keys new", code="key-unusable"
        )
    return key


def _public(text: str) -> Ed25519PublicKey:
    if not text.startswith(PREFIX):
        raise ValueError(f"a public key begins with {PREFIX}")
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the public key is not base64") from None
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"a public key has {_KEY_BYTES} bytes, this one has {len(raw)}")
    return Ed25519PublicKey.from_public_bytes(raw)


def _load_all() -> None:
    """Meet a wrong signature once while nothing restricts imports.

    The library looks its exceptions up at their first use. Inside a workflow's sandbox that look-up fails
    and takes the whole process down: anybody could kill the worker by a wrong signature.
    """
    private = Ed25519PrivateKey.from_private_bytes(bytes(_KEY_BYTES))
    with contextlib.suppress(InvalidSignature):
        private.public_key().verify(bytes(2 * _KEY_BYTES), b"")


_load_all()
