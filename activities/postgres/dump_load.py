"""Loads a dump into a throwaway server: the globals, then every database, each by a job of its own."""

import os
import re
import time
from collections.abc import Callable

from activities.engine import Engine
from activities.offsite_progress import Progress
from activities.postgres import shelf
from activities.postgres.dump_jobs import DUMPS, last_line, mounted_kind
from activities.postgres.one_shot import shell
from activities.postgres.sql import Sql
from activities.postgres.throwaway import SOCKET, Throwaway
from domain.contents import DatabaseState
from domain.dumps import GLOBALS
from domain.entries import Entry
from domain.errors import DrError, VerificationFailed
from domain.order import Target
from domain.recovery import Copy

_LIMIT_SECONDS = 24 * 3600.0
_ASK_SECONDS = 2.0
_MOST_JOBS = 4
_GLOBALS = (
    f'exec psql -X -q -h {SOCKET} -U "$1" -d template1 -v VERBOSITY=terse -v SHOW_CONTEXT=never'
    ' -f "$2" >/dev/null'
)
_RESTORE = f'exec pg_restore -h {SOCKET} -U "$1" -d template1 --create --exit-on-error --jobs="$3" "$2"'
_ERROR = re.compile(r"(?:ERROR|FATAL|error):\s+(.*)")


class Loading:
    """Loads one dump into one throwaway server."""

    def __init__(
        self, engine: Engine, sql: Sql, target: Target, entry: Entry, server: Throwaway, copy: Copy
    ) -> None:
        """``copy`` is how the throwaway server is asked."""
        self._engine = engine
        self._sql = sql
        self._target = target
        self._entry = entry
        self._server = server
        self._copy = copy
        expected = sum(database.bytes for database in entry.contents.databases)
        self._progress = Progress("", expected or None, about=True)

    def load(self) -> None:
        """Load the globals and every database; ``VerificationFailed`` names the first error."""
        self._globals()
        for database in self._entry.contents.databases:
            self._database(database)

    def _globals(self) -> None:
        """Load roles and memberships; the one role that ``initdb`` has to make is there already."""
        with shelf.asking(self._copy.container), self._sql.copy(self._copy) as connection:
            # Its own dump makes it, as all others are made.
            connection.execute("DROP DATABASE IF EXISTS postgres")
        code, log = self._run("the globals", _GLOBALS, GLOBALS)
        known = f'role "{self._copy.user}" already exists'
        errors = [said for said in _ERROR.findall(log) if said.strip() != known]
        if code != 0 or errors:
            raise self._failed("the globals", errors[0] if errors else last_line(log))

    def _database(self, database: DatabaseState) -> None:
        jobs = str(min(_MOST_JOBS, os.cpu_count() or 1))
        code, log = self._run(database.name, _RESTORE, database.file, jobs)
        if code != 0:
            raise self._failed(database.name, next(iter(_ERROR.findall(log)), "") or last_line(log))

    def _failed(self, what: str, said: str) -> VerificationFailed:
        return VerificationFailed(f"{what}: {said}", where=self._entry.id, code="restore-failed")

    def _run(self, what: str, script: str, file: str, *more: str) -> tuple[int, str]:
        inside = f"{DUMPS}/{self._entry.id}/{file}"
        job = shell(
            self._target.postgres,
            self._server.loader,
            script,
            self._copy.user,
            inside,
            *more,
            binds={
                **mounted_kind(self._target, self._entry.kind),
                str(self._server.sockets): f"{SOCKET}:rw",
            },
            labelled=self._server.labels,
        )
        self._progress.what = f"restoring {what}"
        state, log, _ = self._engine.follow(job, self._telling(), limit_seconds=_LIMIT_SECONDS)
        self._engine.remove(state.id, force=True)
        return state.exit_code or 0, log

    def _telling(self) -> Callable[[str], None]:
        """Say how much the server holds, asked now and then, of what the databases held at the dump."""
        asked = time.monotonic()

        def tell(_: str) -> None:
            nonlocal asked
            held = self._progress.done
            if time.monotonic() - asked > _ASK_SECONDS:
                held, asked = self._held() or held, time.monotonic()
            self._progress.tell(held)

        return tell

    def _held(self) -> int:
        query = "SELECT coalesce(sum(pg_database_size(oid)), 0)::int8 FROM pg_database"
        try:
            with (
                shelf.asking(self._copy.container),
                self._sql.copy(self._copy, timeout_seconds=5) as connection,
            ):
                row = connection.execute(query).fetchone()
        except DrError:
            return 0  # only the progress is not known
        return 0 if row is None else int(str(row[0]))
