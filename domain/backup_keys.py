"""Keys that backups are sealed with: how one is written down, and what is known of it."""

import base64
import binascii
import re
from datetime import UTC, datetime

from domain.errors import Refused
from domain.order import Value
from domain.sealing import BackupKey

_LINE = re.compile(
    r"dr-backup-key:1:(?P<made>\d{8}T\d{6}Z):(?P<id>[0-9a-f]{16}):(?P<secret>[A-Za-z0-9_=-]{44})"
)
_STAMP = "%Y%m%dT%H%M%SZ"


class KeyFact(Value):
    """What may be said of a key."""

    id: str
    made_at: datetime
    confirmed_at: datetime | None = None
    """When somebody said that it is kept elsewhere too; ``None`` while nobody did."""
    confirmed_by: str = ""


def key_text(key: BackupKey, made_at: datetime) -> str:
    """Return the one line that a key file holds, fit to be printed and locked away."""
    secret = base64.urlsafe_b64encode(key.secret).decode("ascii")
    return f"dr-backup-key:1:{made_at.astimezone(UTC):{_STAMP}}:{key.id}:{secret}\n"


def read_key(text: str, where: str) -> tuple[BackupKey, datetime]:
    """Return the key of such a line and when it was made.

    Raises ``Refused``: ``backup-key-unusable`` for another text, ``backup-key-wrong`` when the line names
    an id that its secret does not have. No message repeats the text.
    """
    found = _LINE.fullmatch(text.strip())
    if found is None:
        raise Refused("it holds no backup key", where=where, code="backup-key-unusable")
    try:
        key = BackupKey(base64.b64decode(found["secret"], altchars=b"-_", validate=True))
        made_at = datetime.strptime(found["made"], _STAMP).replace(tzinfo=UTC)
    except (binascii.Error, ValueError):
        raise Refused("it holds no backup key", where=where, code="backup-key-unusable") from None
    if key.id != found["id"]:
        raise Refused(
            f"it holds another key than {found['id']}",
            where=where,
            hint="bring the right one back from where it was kept besides",
            code="backup-key-wrong",
        )
    return key, made_at
