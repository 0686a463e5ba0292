"""The keys of backups on this host: ``DR_STATE/keys/backup``, for their owner alone, never on the shelf."""

import json
import os
import secrets
import stat
from datetime import datetime
from pathlib import Path

from activities import plain_files
from domain.backup_keys import KeyFact, key_text, read_key
from domain.errors import DrError, Refused
from domain.persons import name_limitation
from domain.recovery import Proof
from domain.sealing import KEY_BYTES, BackupKey

_LIMIT_BYTES = 4096
_SUFFIX = ".key"
_CONFIRMED = ".confirmed"

_NONE = (
    "none was made: until 'dr keys backup new' metadata and configuration are not backed up, and nothing"
    " leaves sealed"
)


class BackupKeys:
    """Makes keys, finds them by id, and remembers who said that they are kept elsewhere too."""

    def __init__(self, state: Path) -> None:
        """``state`` is DR_STATE."""
        self.directory = state / "keys" / "backup"

    def new(self, at: datetime) -> KeyFact:
        """Make a key; from now on it seals what is new, and the older ones go on opening what is old."""
        key = BackupKey(secrets.token_bytes(KEY_BYTES))
        path = self.directory / f"{key.id}{_SUFFIX}"
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            plain_files.own(self.directory, os.geteuid(), os.getegid())
            plain_files.replace(path, key_text(key, at).encode())
        except OSError as error:
            raise Refused(
                f"the key cannot be written: {error.strerror}", where=str(path), code="backup-key-file"
            ) from None
        return self.fact(key.id)

    def known(self) -> list[KeyFact]:
        """Return the keys, newest first. Raises ``Refused`` for one that cannot be used."""
        if not self.directory.is_dir():
            return []
        ids = [path.stem for path in self.directory.glob(f"*{_SUFFIX}")]
        return sorted((self.fact(one) for one in ids), key=lambda one: (one.made_at, one.id), reverse=True)

    def current(self) -> BackupKey:
        """Return the key for what is new; ``Refused`` (``backup-key-missing``) when there is none."""
        known = self.known()
        if not known:
            raise Refused(
                "there is no key to seal backups with",
                where=str(self.directory),
                hint="make one with 'dr keys backup new', and keep a copy elsewhere",
                code="backup-key-missing",
            )
        return self.find(known[0].id)

    def find(self, key_id: str) -> BackupKey:
        """Return a key by its id.

        Raises ``Refused``: ``backup-key-missing``, ``backup-key-wrong`` when the file holds another one,
        ``key-exposed`` when others may read it, ``backup-key-unusable``.
        """
        return self._read(key_id)[0]

    def fact(self, key_id: str) -> KeyFact:
        """Return what may be said of a key. Raises as ``find``."""
        _, made_at = self._read(key_id)
        try:
            said = json.loads(plain_files.read(self.directory / f"{key_id}{_CONFIRMED}", _LIMIT_BYTES))
            return KeyFact(id=key_id, made_at=made_at, confirmed_at=said["at"], confirmed_by=said["by"])
        except (OSError, ValueError, KeyError, TypeError):
            return KeyFact(id=key_id, made_at=made_at)

    def confirm(self, key_id: str, by: str, at: datetime) -> KeyFact:
        """Record that a person keeps a copy of a key elsewhere. Raises ``Refused``."""
        problem = name_limitation(by)
        if problem:
            raise Refused(problem, code="name-unusable")
        self._read(key_id)
        said = json.dumps({"at": at.isoformat(), "by": by}).encode()
        plain_files.replace(self.directory / f"{key_id}{_CONFIRMED}", said)
        return self.fact(key_id)

    def proof(self) -> Proof:
        """Return whether every key is usable and kept elsewhere too (decision S2)."""
        name = "keys of backups"
        try:
            known = self.known()
        except DrError as error:
            return Proof(name=name, passed=False, evidence=str(error))
        open_ones = [one.id for one in known if one.confirmed_at is None]
        if open_ones:
            evidence = (
                f"nobody confirmed that {', '.join(open_ones)} is kept elsewhere too: without it no sealed"
                " backup opens; copy it, then 'dr keys backup confirm'"
            )
            return Proof(name=name, passed=False, evidence=evidence)
        said = [f"{one.id}, kept elsewhere says {one.confirmed_by}" for one in known]
        return Proof(name=name, passed=True, evidence="; ".join(said) or _NONE)

    def _read(self, key_id: str) -> tuple[BackupKey, datetime]:
        path = self.directory / f"{key_id}{_SUFFIX}"
        try:
            if not key_id.isalnum():
                raise FileNotFoundError  # noqa: TRY301 - no such name was ever given
            with plain_files.opened(path) as handle:
                exposed = bool(stat.S_IMODE(os.fstat(handle).st_mode) & 0o077)
                text = os.read(handle, _LIMIT_BYTES).decode("ascii", errors="replace")
        except FileNotFoundError:
            raise Refused(
                f"the backup key {key_id} is not on this host",
                where=str(self.directory),
                hint="put its file back, from where it was kept besides, with mode 0600",
                code="backup-key-missing",
            ) from None
        except OSError as error:
            raise Refused(
                f"the key cannot be read: {error.strerror}", where=str(path), code="backup-key-file"
            ) from None
        if exposed:
            raise Refused(
                "others can read the backup key",
                where=str(path),
                hint=f"chmod 600 {path}",
                code="key-exposed",
            )
        key, made_at = read_key(text, str(path))
        if key.id != key_id:
            raise Refused(
                f"the file of key {key_id} holds {key.id}", where=str(path), code="backup-key-wrong"
            )
        return key, made_at
