"""The sealed form of a file: AES-256-GCM over chunks that know their place and what they belong to.

::

    header   magic (8), key id (8), salt (16), bytes of a chunk (4)
    chunk    nonce (12), ciphertext, tag (16); every chunk but the last one is full, one there is always

Each file has keys of its own, derived by HKDF-SHA256 from the backup key, the salt, the whole header and
the *context*: the name of what is sealed. So a changed header, another file's chunk and a file that was
moved to another name have other keys and do not open. Position and a last-chunk flag are authenticated
with each chunk (the STREAM construction), so chunks that were cut off, added, repeated or exchanged do
not open either.

**Why the same file may be sealed twice.** An upload that was cut off goes on with the same bytes, so nothing
here is drawn by chance: the salt is a keyed digest of content and context, and a chunk's nonce is a keyed
digest of its position and its plain bytes. A nonce therefore never serves two different chunks under one
key, even when a file changes between the moment it is hashed and the moment it is read, which is what a
counter would not survive. What equal bytes show is that the same content was sealed under the same name
with the same key: what an unfinished upload has to show in order to be resumed. (Two different
chunks of one file share a nonce by accident with a chance of about 2**-96 for each pair of chunks.)

Everything here is computation alone. What is read is never obeyed: a header may choose among a few sizes.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import BackupUnusable, Refused

MAGIC = b"DRSEAL\x00\x01"
"""The last byte is the version of the form."""
KEY_BYTES = 32
SALT_BYTES = 16
CHUNK_BYTES = 1024 * 1024
CHUNK_SIZES = frozenset(2**power for power in range(6, 23))
"""What a header may ask for: 64 bytes to 4 MiB. Nothing else is ever allocated."""
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD_BYTES = _NONCE_BYTES + _TAG_BYTES
_HEADER = struct.Struct(f">{len(MAGIC)}s8s{SALT_BYTES}sI")
HEADER_BYTES = _HEADER.size
_PLACE = struct.Struct(">QB")
_ID = b"dr backup key 1\x00"
_FILE = b"dr sealed file 1\x00"
_SALT = b"dr sealing salt 1\x00"


@dataclass(frozen=True)
class BackupKey:
    """A key that backups are sealed with; its id is public, its secret is not shown."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no key."""
        if len(self.secret) != KEY_BYTES:
            raise Refused(f"a backup key has {KEY_BYTES} bytes", code="backup-key-unusable")

    @property
    def id(self) -> str:
        """Return the short hash that names the key in headers and manifests."""
        return hashlib.sha256(_ID + self.secret).hexdigest()[:16]


@dataclass(frozen=True)
class Header:
    """What stands before the chunks."""

    key_id: str
    salt: bytes
    chunk_bytes: int = CHUNK_BYTES

    def encoded(self) -> bytes:
        """Return the header as it is written."""
        return _HEADER.pack(MAGIC, bytes.fromhex(self.key_id), self.salt, self.chunk_bytes)


def read_header(first: bytes) -> Header:
    """Read the first bytes of a sealed file.

    Raises ``Refused`` (``not-sealed``) for anything that is no such header: what should be sealed is
    not taken in clear.
    """
    if len(first) < HEADER_BYTES or not first.startswith(MAGIC):
        raise Refused(
            "it is not sealed, though encryption is required",
            hint="what was stored in clear is read only where the stack file says encrypt: false",
            code="not-sealed",
        )
    _, key_id, salt, chunk_bytes = _HEADER.unpack_from(first)
    if chunk_bytes not in CHUNK_SIZES:
        raise Refused("its header asks for chunks that nobody writes", code="not-sealed")
    return Header(key_id.hex(), salt, chunk_bytes)


def repeatable_salt(key: BackupKey, context: str, plain_sha256: bytes) -> bytes:
    """Return the salt of a content under a name: the same for the same, and unguessable without the key."""
    under = HKDF(SHA256(), KEY_BYTES, None, _SALT).derive(key.secret)
    return hmac.digest(under, _named(context) + plain_sha256, "sha256")[:SALT_BYTES]


def chunks_of(plain_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how many chunks so many bytes make; an empty file has one."""
    return max(1, -(-plain_bytes // chunk_bytes))


def sealed_bytes(plain_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how large a file is when it is sealed."""
    return HEADER_BYTES + plain_bytes + chunks_of(plain_bytes, chunk_bytes) * OVERHEAD_BYTES


class Seal:
    """Closes and opens the chunks of one file. Every method is a function of its arguments alone."""

    def __init__(self, key: BackupKey, header: Header, context: str) -> None:
        """Derive the keys of the file that ``context`` names; ``Refused`` when it is of another key."""
        if header.key_id != key.id:
            raise Refused(
                f"it is sealed with the key {header.key_id}, not with {key.id}", code="backup-key-wrong"
            )
        self.header = header
        encoded = header.encoded()
        info = _FILE + encoded + _named(context)
        derived = HKDF(SHA256(), 2 * KEY_BYTES, header.salt, info).derive(key.secret)
        self._cipher = AESGCM(derived[:KEY_BYTES])
        self._nonces = derived[KEY_BYTES:]

    def close(self, number: int, plain: bytes, *, last: bool) -> bytes:
        """Return a chunk sealed in its place."""
        place = _PLACE.pack(number, last)
        digest = hmac.new(self._nonces, place, "sha256")
        digest.update(plain)
        nonce = digest.digest()[:_NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, plain, place)

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        """Return what a chunk holds.

        Raises ``BackupUnusable`` (``seal-broken``) when it is not the one that was sealed in this place.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        if len(rest) < _TAG_BYTES:
            raise _broken(number)
        try:
            return self._cipher.decrypt(nonce, rest, _PLACE.pack(number, last))
        except InvalidTag:
            raise _broken(number) from None


def _broken(number: int) -> BackupUnusable:
    return BackupUnusable(
        f"chunk {number} was changed, moved or cut off, or belongs to something else",
        hint="take another copy of it; nothing of this one can be trusted",
        code="seal-broken",
    )


def _named(context: str) -> bytes:
    return hashlib.sha256(context.encode()).digest()
