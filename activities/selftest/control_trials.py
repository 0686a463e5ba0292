"""Q2 to Q4 and Q6: what is sound although it differs from the backup, or looks strange."""

from collections.abc import Iterator
from contextlib import contextmanager

from activities.postgres.contents import read_contents
from activities.postgres.integrity_sql import check_objects, check_rows
from activities.selftest.data_trials import DataTrials
from activities.selftest.dump_trials import RESTORE, DumpTrials
from activities.selftest.good import Good
from activities.selftest.stage import SPECIMEN, Stage
from activities.selftest.trial import Answer, Check, Trials, by_judgement
from domain.comparison import passed
from domain.contents import Contents
from domain.stack import Check as StackCheck

COPY = "the checks of a recovered copy"
RECORD = "what was recorded at the backup: all of it"
CHECKS = (
    StackCheck(name="messages are there", sql="SELECT count(*) FROM messages", expect="positive"),
    StackCheck(
        name="no message has two rows",
        sql="SELECT count(*) FROM (SELECT id FROM messages GROUP BY id HAVING count(*) > 1) AS twice",
    ),
)
"""As a stack file states what its application knows."""
_WROTE = "INSERT INTO messages (channel_id, author_id, body, sent_at) SELECT 2, 5, 'later', now()"
_DELETED = (
    "DELETE FROM authors WHERE id BETWEEN 50 AND 60; UPDATE authors SET deleted_at = now() WHERE id = 61"
)
_REWRITTEN = "VACUUM (FULL, ANALYZE)", "REINDEX TABLE messages", "ANALYZE"
_FUTURE = "UPDATE messages SET sent_at = now() + interval '20 years' WHERE id = 99"


class ControlTrials:
    """Holds sound states before the checks."""

    def __init__(self, stage: Stage, good: Good, dumps: DumpTrials, data: DataTrials, trials: Trials) -> None:
        """Note everything in ``trials``; ``dumps`` and ``data`` have the checks."""
        self._stage = stage
        self._good = good
        self._dumps = dumps
        self._data = data
        self._trials = trials

    def run(self) -> None:
        """Compare a writing production with its backup, and copies that went on with what was recorded."""
        with self._stage.sql.copy(self._stage.copy()) as connection:
            baseline = read_contents(connection)
        data, control = self._data, self._trials.control
        for check, ask in (
            (RECORD, self._whole("rewritten")),
            (COPY, self._copy("rewritten", baseline)),
        ):
            control("Q4", "everything rewritten", check, ask, state=self._rewritten("rewritten"))
        for name, number, what, statement, shown in (
            ("wrote", "Q2", "more messages", f"{_WROTE} FROM generate_series(1, 500)", _MORE),
            ("deleted", "Q3", "more users deleted", _DELETED, _ORPHANLESS),
            ("future", "Q6", "a message of a far day", _FUTURE, _DATED),
        ):
            state = data.changed(name, statement, shown)
            control(number, what, COPY, self._copy(name, baseline), state=state)
        for number, what, shown in (
            ("Q3", "messages without an author since before the backup", _ORPHANLESS),
            ("Q6", "a message of a far day, since before the backup", _DATED),
        ):
            control(number, what, RECORD, self._whole(SPECIMEN), state=self._there(shown))
        wrote = f"{_WROTE} FROM generate_series(1, 300)"
        control(
            "Q2",
            "production wrote on",
            RESTORE,
            self._dumps.restored(self._good.dump),
            state=self._done(wrote),
        )

    def _copy(self, database: str, baseline: Contents) -> Check:
        """Return the checks that a recovery makes of its copy, which may be later than the backup."""

        def ask() -> Answer:
            with self._stage.sql.copy(self._stage.copy(), database=database) as connection:
                proofs = [*check_rows(connection), *check_objects(connection, baseline, CHECKS)]
            return by_judgement(proofs, passed=all(proof.passed for proof in proofs))

        return ask

    def _whole(self, database: str) -> Check:
        def ask() -> Answer:
            proofs = self._data.compared(database)
            return by_judgement(proofs, passed=passed(proofs))

        return ask

    @contextmanager
    def _rewritten(self, name: str) -> Iterator[str]:
        query = "SELECT pg_relation_filenode('messages')"
        with self._data.copied(name):
            before = self._stage.ask(query, database=name)
            self._stage.do(*_REWRITTEN, database=name)
            now = self._stage.ask(query, database=name)
            yield f"messages are in file {now}, they were in {before}" if now != before else ""

    @contextmanager
    def _there(self, shown: str) -> Iterator[str]:
        yield shown if self._stage.ask(f"SELECT {shown}") == "True" else ""

    @contextmanager
    def _done(self, statement: str) -> Iterator[str]:
        """Write to the stage's own database, which is not put back: it comes last."""
        count = "SELECT count(*) FROM messages"
        before = int(self._stage.ask(count))
        self._stage.do(statement)
        now = int(self._stage.ask(count))
        yield f"{now:,} messages, at the backup {before:,}" if now > before else ""


_MORE = "(SELECT count(*) FROM messages WHERE body = 'later') = 500"
_ORPHANLESS = "(SELECT count(*) FROM messages WHERE author_id IS NULL) > 10"
_DATED = "(SELECT max(sent_at) FROM messages) > now() + interval '10 years'"
