"""What a backup of Redis holds that has lost its entry: loaded by a server of its own, as at its making."""

import os
import re
from pathlib import Path

from activities import plain_files
from activities.alone import alone
from activities.engine import Engine
from activities.redis_contents import read_held
from activities.redis_copy import copy_of
from activities.redis_files import RedisJobs
from activities.redis_proof import files_of, what_is_wrong
from activities.redis_server import service_of
from activities.room import refuse_without_room
from domain.entries import Entry, Source
from domain.errors import BackupUnusable, VerificationFailed
from domain.order import Target

_PURPOSE = "rebuild"
# A field that every snapshot begins with: its name, and its value with the length before it.
_VERSION = re.compile(rb"\xfa\x09redis-ver(.)([0-9.]+)", re.DOTALL)
_BEGINNING_BYTES = 512
_SNAPSHOT = ".rdb"


class RedisRereading:
    """Loads backups to say again what they hold."""

    def __init__(self, engine: Engine, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._engine = engine
        self._state = state

    def read_again(self, target: Target, directory: Path, entry: Entry) -> Entry:
        """Add what the files hold and which version wrote them.

        Raises ``BackupUnusable`` for files that Redis' own programs or a server do not take, ``Refused``
        without room, memory or a Redis in the stack. What was made is always removed.
        """
        service = service_of(target, "")
        with alone(self._state, f"redis-{_PURPOSE}-{target.stack}"):
            wrong = what_is_wrong(RedisJobs(self._engine, target, service, _PURPOSE), directory, entry)
            if wrong:
                raise BackupUnusable(wrong, where=str(directory), code="backup-damaged")
            refuse_without_room("for Redis' data", entry.bytes, self._engine.root())
            files = files_of(entry)
            copy = copy_of(self._engine, self._state, target, service, files, entry.id, _PURPOSE)
            copy.remove()
            try:
                copy.load(directory, entry.kind)
                with copy.serving(entry.kind) as server:
                    held = read_held(server)
            except VerificationFailed as failed:
                raise BackupUnusable(failed.what, where=str(directory), code="backup-damaged") from None
            finally:
                copy.remove()
        source = Source(version=_version_in(directory, entry))
        return entry.model_copy(update={"held": held, "source": source})


def _version_in(directory: Path, entry: Entry) -> str:
    """Return the version that wrote a snapshot, or the base of append-only files; empty when none says it."""
    for file in entry.files:
        if file.path.endswith(_SNAPSHOT):
            with plain_files.opened(directory / file.path) as handle:
                found = _VERSION.search(os.read(handle, _BEGINNING_BYTES))
            if found is not None:
                return found[2][: found[1][0]].decode("ascii")
    return ""
