"""What a dump holds that has lost its entry, as its own files say: databases, tables with their rows, roles.

The rows are counted in the dump itself, so that a restore of it is still compared with something else than
itself. Digests and the number of other objects were known to the server alone, and are not known any more.
"""

import re
from pathlib import Path

from activities import plain_files
from activities.engine import Engine
from activities.postgres.dump_jobs import heading, last_line, run_on
from domain.contents import Contents, DatabaseState, TableState
from domain.dumps import GLOBALS
from domain.entries import RECORD, Entry, Source
from domain.errors import BackupUnusable
from domain.order import Target

_NAME = re.compile(r"^; +dbname: (.*)$", re.MULTILINE)
_VERSION = re.compile(r"^; +Dumped from database version: (.*)$", re.MULTILINE)
_ROLE = re.compile(r"^CREATE ROLE (.+);$", re.MULTILINE)
_ONE = r'(?:"(?:[^"]|"")+"|[^\s".(]+)'
_COUNTED = re.compile(rf"^rows (\d+) ({_ONE}\.{_ONE})(?: |$)", re.MULTILINE)
_ENDED = re.compile(r"^tables (\d+)$", re.MULTILINE)
_MADE = re.compile(rf"^made ({_ONE}\.{_ONE})$", re.MULTILINE)
_LEDGER = "dr."
_GLOBALS_LIMIT_BYTES = 64 * 1024 * 1024
_AT_ONCE = 300
"""The end of a log is kept, so that of many tables some are told at a time."""
# A line of data never is "\.": a backslash is written twice. What pg_restore ended with is a line behind
# all data, which in a dump that is cut off is counted as one more row and never told.
_ROWS = r"""
{ pg_restore --data-only --file=- "$1"; echo "ended $?"; } | LC_ALL=C awk '
on && $0 == "\\." { if (++seen > FROM && seen <= FROM + MANY) print "rows " rows " " name; on = 0; next }
on { rows++; next }
/^COPY / { on = 1; rows = 0; name = substr($0, 6, 400); sub(/ FROM stdin;$/, "", name) }
/^ended / { if ($2 != 0) exit 1; whole = 1 }
END { if (!whole) exit 1; print "tables " seen + 0 }'
"""
_TABLES = r"""
pg_restore --schema-only --file=- "$1" | LC_ALL=C awk '
/^CREATE TABLE .* (\(|OF .*)$/ {
    name = substr($0, 14, 400)
    sub(/ (\(|OF .*)$/, "", name)
    if (++seen > FROM && seen <= FROM + MANY) print "made " name
}
END { print "tables " seen + 0 }'
"""


class DumpRereading:
    """Reads dumps to say again what they hold; no server is asked."""

    def __init__(self, engine: Engine) -> None:
        """Run the programs of the server's own image."""
        self._engine = engine

    def read_again(self, target: Target, directory: Path, entry: Entry) -> Entry:
        """Add what the dumps say of themselves. Raises ``BackupUnusable`` for one that is none."""
        databases: list[DatabaseState] = []
        version = ""
        for file in entry.files:
            if file.path in {GLOBALS, RECORD}:
                continue
            said = heading(self._engine, target, directory, file.path)
            name, of = _NAME.search(said), _VERSION.search(said)
            if name is None:
                raise _unusable(f"{file.path} does not say which database it is of")
            tables = self._tables(target, directory, file.path)
            databases.append(DatabaseState(name=name[1], file=file.path, tables=tables))
            version = of[1] if of is not None else version
        if not databases:
            raise _unusable("it holds no dump")
        contents = Contents(databases=tuple(databases), roles=_roles(directory))
        return entry.model_copy(update={"contents": contents, "source": Source(version=version)})

    def _tables(self, target: Target, directory: Path, name: str) -> tuple[TableState, ...]:
        """Return the tables with their rows: those that a restored copy is compared by.

        Unlogged ones, those of an extension and the ledger's are left out there too.
        """
        made = {one[0] for one in self._told(target, directory, name, _TABLES, _MADE)}
        counted = self._told(target, directory, name, _ROWS, _COUNTED)
        return tuple(
            TableState(name=table, rows=int(rows))
            for rows, table in sorted(counted, key=lambda one: one[1])
            if table in made and not table.startswith(_LEDGER)
        )

    def _told(
        self, target: Target, directory: Path, name: str, script: str, wanted: re.Pattern[str]
    ) -> list[tuple[str, ...]]:
        """Return what a script tells of a dump, some at a time; ``BackupUnusable`` when that is not all."""
        found: list[tuple[str, ...]] = []
        begin = total = 0
        while not begin or begin < total:
            cut = script.replace("FROM + MANY", str(begin + _AT_ONCE)).replace("> FROM", f"> {begin}")
            code, log = run_on(self._engine, target, directory, name, cut)
            ended = _ENDED.search(log)
            if code != 0 or ended is None:
                raise _unusable(f"{name} cannot be read to its end: {last_line(log) or f'status {code}'}")
            found += [one.groups() for one in wanted.finditer(log)]
            total, begin = int(ended[1]), begin + _AT_ONCE
        if wanted is _COUNTED and len(found) != total:
            raise _unusable(f"{name} names a table that cannot be told")
        return found


def _roles(directory: Path) -> tuple[str, ...]:
    """Return the roles that the globals make; none when they cannot be read."""
    try:
        text = plain_files.read(directory / GLOBALS, _GLOBALS_LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return ()
    return tuple(sorted({_bare(name) for name in _ROLE.findall(text)}))


def _bare(name: str) -> str:
    """Return an identifier without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') and name.endswith('"') else name


def _unusable(what: str) -> BackupUnusable:
    return BackupUnusable(what, code="backup-stranger")
