"""M8 to M13: databases that are not what the backup recorded, each a copy of the specimen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from activities.postgres.index_check import check_index, find_index
from activities.postgres.integrity_counts import check_foreign_keys, check_indexes_valid
from activities.postgres.integrity_scans import Place, amcheck, full_read
from activities.postgres.integrity_sql import check_rows
from activities.postgres.restore_dump import DumpChecks
from activities.selftest.data_forms import GONE, INVALID, IS_INVALID, LIES, LYING, ORPHANED, ORPHANS, ROLES
from activities.selftest.good import Good
from activities.selftest.stage import SOCKET, SPECIMEN, Stage
from activities.selftest.trial import Answer, Check, Trials, by_proofs
from domain.comparison import compare
from domain.diagnosis import Finding
from domain.recovery import Proof

RECORD = "what was recorded at the backup: "
AMCHECK = "pg_amcheck"
READ = "pg_dump reads every row"
INDEX = "bt_index_check with the heap"
COUNTS = "rows of the heap and of the index"
KEYS = "foreign keys followed through the heap"
VALID = "every index valid"
_LIMIT_SECONDS = 60
_FILE_COPY_SINCE = 15
_PAGE = 8192
_VICTIM_PAGE = 3
_PAGE_SUM = 'dd if="$1" bs=8192 skip="$2" count=1 2>/dev/null | sha256sum | cut -c 1-12'
_GARBAGE = 'dd if=/dev/urandom of="$1" bs=8192 seek="$2" count=1 conv=notrunc 2>/dev/null && sync'
_ZEROES = 'dd if=/dev/zero of="$1" bs=8192 seek="$2" count=1 conv=notrunc 2>/dev/null && sync'


class DataTrials:
    """Tries the checks of what is in a database."""

    def __init__(self, stage: Stage, good: Good, checks: DumpChecks, trials: Trials) -> None:
        """``checks`` are those of restored dumps."""
        self._stage = stage
        self._good = good
        self._checks = checks
        self._trials = trials

    def run(self) -> None:
        """Compare damaged copies with the record of the stage's dump, and scan them."""
        for proof in ("tables", "rows", "digests", "objects", "extensions", "sequences", "roles"):
            ask = self.recorded(SPECIMEN, proof)
            self._trials.control("Q1", "the specimen itself", RECORD + proof, ask)
        for number, (mutant, what, statement, shown, proof) in enumerate(GONE):
            name = f"gone{number}"
            damage = self.changed(name, statement, shown)
            self._trials.mutant(mutant, what, damage, RECORD + proof, self.recorded(name, proof))
        for what, statement, undo, shown in ROLES:
            damage = self._cluster(statement, undo, shown)
            self._trials.mutant("M13", what, damage, RECORD + "roles", self.recorded(SPECIMEN, "roles"))
        self._pages()
        self._indexes()

    def recorded(self, database: str, *named: str) -> Check:
        """Return the comparison with the record; only proofs of these names can be red."""
        return lambda: by_proofs(self.compared(database), *named)

    def compared(self, database: str) -> tuple[Proof, ...]:
        """Compare a database with the record of the specimen, as a restored dump is compared."""
        recorded = self._good.dump.contents
        mine = next(one for one in recorded.databases if one.name == SPECIMEN)
        renamed = mine.model_copy(update={"name": database})
        before = recorded.model_copy(update={"databases": (renamed,)})
        now, proofs = self._checks.look(self._stage.copy(), [database])
        return (*compare(before, now), *proofs)

    @contextmanager
    def changed(self, name: str, statement: str, shown: str) -> Iterator[str]:
        """Make a copy of the specimen, change it, and look by a query whether it is changed."""
        with self.copied(name):
            self._stage.do(statement, database=name)
            seen = self._stage.ask(f"SELECT {shown}", database=name) == "True"
            yield " ".join(shown.split()) if seen else ""

    @contextmanager
    def copied(self, name: str) -> Iterator[str]:
        """Make a copy of the specimen, and drop it afterwards."""
        stage = self._stage
        version = int(stage.ask("SHOW server_version_num", database="template1")) // 10_000
        how = " STRATEGY file_copy" if version >= _FILE_COPY_SINCE else ""
        stage.do(f"CREATE DATABASE {name} TEMPLATE {SPECIMEN}{how}", database="template1")
        try:
            yield name
        finally:
            stage.do(f"DROP DATABASE {name} WITH (FORCE)", database="template1")

    @contextmanager
    def _cluster(self, statement: str, undo: str, shown: str) -> Iterator[str]:
        try:
            self._stage.do(statement)
            seen = self._stage.ask(f"SELECT {shown}") == "True"
            yield shown if seen else ""
        finally:
            self._stage.do(undo)

    def _pages(self) -> None:
        """Destroy one page of a table on the disk, before anybody has read it."""
        for number, (what, script, asked) in enumerate(
            (
                ("a page of a table holds garbage", _GARBAGE, {AMCHECK: self._amcheck, READ: self._read}),
                ("a page of a table holds zeroes", _ZEROES, {COUNTS: self._counts}),
            )
        ):
            name = f"page{number}"
            checks = {check: partial(ask, name) for check, ask in asked.items()}
            for check, ask in asked.items():
                self._trials.control("Q1", "the specimen itself", check, partial(ask, SPECIMEN))
            self._trials.forms("M11", what, self._overwritten(name, script), checks)

    @contextmanager
    def _overwritten(self, name: str, script: str) -> Iterator[str]:
        with self.copied(name):
            path = self._stage.ask("SELECT pg_relation_filepath('messages')", database=name)
            file = f"{self._good.target.postgres.pgdata}/{path}"
            before = self._stage.inside(_PAGE_SUM, file, str(_VICTIM_PAGE))
            self._stage.inside(script, file, str(_VICTIM_PAGE))
            now = self._stage.inside(_PAGE_SUM, file, str(_VICTIM_PAGE))
            said = f"SHA-256 of page {_VICTIM_PAGE} of {path} is {now}, it was {before}"
            yield said if now != before else ""

    def _indexes(self) -> None:
        """Have an index miss rows, one be invalid, and rows refer to what is gone, all of it unnoticed."""
        checks: dict[str, Callable[[str], Answer]] = {
            INDEX: self._index,
            AMCHECK: self._amcheck,
            COUNTS: self._counts,
        }
        for check in (INDEX, VALID, KEYS):
            ask = {INDEX: self._index, VALID: self._valid, KEYS: self._keys}[check]
            self._trials.control("Q1", "the specimen itself", check, partial(ask, SPECIMEN))
        damage = self.changed("lying", LYING, LIES)
        asked = {check: partial(ask, "lying") for check, ask in checks.items()}
        self._trials.forms("M12", "an index misses rows of its table", damage, asked)
        damage = self.changed("invalid", INVALID, IS_INVALID)
        self._trials.mutant("M12", "an index is not valid", damage, VALID, partial(self._valid, "invalid"))
        damage = self.changed("orphans", ORPHANS, ORPHANED)
        what = "messages of a channel that is gone, under a constraint that counts as valid"
        self._trials.mutant("M12", what, damage, KEYS, partial(self._keys, "orphans"))

    def _place(self, database: str) -> Place:
        server = self._good.target.postgres
        return Place(
            container=self._stage.name,
            owner=f"{server.uid}:{server.gid}",
            user=server.user,
            database=database,
            environment={"PGHOST": SOCKET, "PGPORT": "5432"},
        )

    def _amcheck(self, database: str) -> Answer:
        scan = amcheck(self._stage.engine, self._place(database), limit_seconds=_LIMIT_SECONDS)
        red = scan.finding in {Finding.DAMAGED, Finding.INDEX_DAMAGED}
        return Answer(red=red, evidence=scan.evidence, made=scan.finding is not Finding.NOT_MEASURED)

    def _read(self, database: str) -> Answer:
        scan = full_read(self._stage.engine, self._place(database), limit_seconds=_LIMIT_SECONDS)
        made = scan.finding is not Finding.NOT_MEASURED
        return Answer(red=scan.finding is Finding.DAMAGED, evidence=scan.evidence, made=made)

    def _counts(self, database: str) -> Answer:
        with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
            return by_proofs(check_rows(connection), "heap against index")

    def _index(self, database: str) -> Answer:
        with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
            found = find_index(connection, "public.messages_pkey")
            proof = check_index(connection, found) if found is not None else None
        return by_proofs([proof] if proof is not None else [])

    def _valid(self, database: str) -> Answer:
        return self._proved(database, check_indexes_valid)

    def _keys(self, database: str) -> Answer:
        return self._proved(database, check_foreign_keys)

    def _proved(self, database: str, check: Callable[..., Proof]) -> Answer:
        with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
            return by_proofs([check(connection)])
