"""Base backups restored into a server of their own: what is shown, and what is never touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activities import catalogue, entries
from activities.engine import Engine, Job
from activities.postgres.backup import Backups
from activities.postgres.restore_base import BaseChecks
from activities.postgres.restore_base_isolated import require_isolated
from activities.postgres.restore_base_server import BaseThrowaway
from activities.postgres.sql import Sql
from activities.tokens import Tokens
from domain.backups import Backup, BackupOrder, Level
from domain.contents import TableState
from domain.dumps import RestoreProven
from domain.errors import BackupUnusable, Refused, Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.recovery import Copy
from domain.stack import Check
from domain.verification_base import ProveBaseOrder
from domain.wal import parse_lsn
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Writer

pytestmark = pytest.mark.hand

CHECK = Check(name="messages are there", sql="SELECT count(*) FROM messages", expect="positive")


class Proof:
    """One server, one base backup of it, and the hand that proves it."""

    def __init__(self, server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> None:
        self.server = server
        self.engine = engine
        self.sql = sql
        self.state = state
        self.shelf = Path(server.target.shelf)
        self.hand = BaseChecks(engine, sql, tokens, state)
        self._backups = Backups(engine, sql, tokens, state)
        server.do("CREATE SEQUENCE numbers; SELECT nextval('numbers'); CREATE ROLE reporting")
        self.take("one")

    def take(self, label: str) -> None:
        """Take the base backup that is looked at."""
        order = BackupOrder(target=self.server.target, label=label)
        self.backup = self._backups.ensure_base_backup(order)

    def prove(self) -> RestoreProven:
        order = ProveBaseOrder(target=self.server.target, entry_id=self.backup.id, checks=(CHECK,))
        return self.hand.verify_base_restored(order)

    def level(self) -> Level:
        return entries.find_entry(self.shelf, self.backup.id).verified

    def left(self) -> list[str]:
        """Return what of the throwaway server is still there."""
        mine = f"{LABEL_STACK}={self.server.target.stack}"
        found = [c.name for c in self.engine.labelled(mine) if c.labels.get(LABEL_ROLE) == "dump-check"]
        found += [volume["Name"] for volume in self.engine.volumes(mine)]
        sockets = self.state / "sockets"
        return found + [path.name for path in sockets.iterdir()] if sockets.is_dir() else found

    def recorded(self, **changes: Any) -> Backup:
        """Change what the entry says was there at the backup."""
        known = catalogue.find_backup(self.shelf, self.backup.id)
        contents = known.contents.model_copy(update=changes)
        catalogue.record(self.shelf, known.model_copy(update={"contents": contents}))
        return known


@pytest.fixture
def proof(server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path) -> Proof:
    return Proof(server, engine, sql, tokens, state)


@pytest.mark.fault("C15")
def test_a_base_backup_is_proven_while_production_goes_on_writing(proof: Proof, seen: Seen) -> None:
    """F-C15: rows come, go and change in production between backup and verification."""
    writer = Writer(proof.server.connect)
    writer.start()
    try:
        writer.wait_for(50)
        proof.server.do("DELETE FROM messages WHERE reply_to IS NOT NULL")
        proof.server.do("CREATE TABLE later AS SELECT 1 AS n")
        proven = proof.prove()
    finally:
        writer.stop()
    assert proven.passed, proven.proofs
    shown = {one.name: one for one in proven.proofs}
    assert {"isolated", "restore", "amcheck", "full read", "rows observed", "foreign keys", "contents"} <= {
        name for name, one in shown.items() if one.passed
    }
    assert all(shown[name].passed for name in ("indexes valid", "roles", "sequences", CHECK.name))
    seen(f"{len(writer.acknowledged)} rows written meanwhile; {shown['contents'].evidence}")
    assert proof.level() is Level.RESTORED
    assert proof.left() == []
    assert proof.prove().passed, "a second time as well"


@pytest.mark.fault("C14")
def test_production_is_never_the_server_of_a_check(proof: Proof, seen: Seen) -> None:
    """F-C14: the check is pointed at the server of the stack itself."""
    target = proof.server.target
    production = Copy(
        container=target.postgres.container_name,
        volume=target.postgres.volume,
        socket_dir=str(proof.state),
        user="postgres",
        database="chat",
        timeline=1,
        replayed_lsn="0/0",
    )
    with pytest.raises(Refused) as refused:
        require_isolated(proof.engine, proof.sql, target, production)
    assert refused.value.code == "check-not-isolated"
    for reason in (
        "the server of the stack itself",
        "belongs to project",
        "its network is",
        "has the volume",
    ):
        assert reason in refused.value.what
    seen(refused.value.what)


@pytest.mark.fault("C14")
def test_a_check_on_the_network_of_production_is_refused_and_nothing_of_it_stays(
    proof: Proof, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-C14: the server of the check is started in production's network, and archives there."""
    target, ensured = proof.server.target, proof.engine.ensure_job
    before = proof.engine.look(target.postgres.container_id)

    def exposed(job: Job, *, start: bool = True) -> Any:
        if job.entrypoint == ("postgres",):
            open_to_all = [one.replace("--archive_mode=off", "--archive_mode=on") for one in job.command]
            job = replace(job, network=target.postgres.network, command=tuple(open_to_all))
        return ensured(job, start=start)

    monkeypatch.setattr(proof.engine, "ensure_job", exposed)
    with pytest.raises(Refused) as refused:
        proof.prove()
    assert refused.value.code == "check-not-isolated"
    assert target.postgres.network in refused.value.what
    seen(refused.value.what)
    assert proof.left() == []
    assert proof.level() is Level.MANIFEST, "nothing was shown, so nothing was taken away"
    after = proof.engine.look(target.postgres.container_id)
    assert before is not None
    assert after is not None
    assert after.raw["State"]["StartedAt"] == before.raw["State"]["StartedAt"]
    assert proof.server.ask("SELECT count(*) FROM messages") == 20000


def test_a_stranger_with_the_name_of_the_check_is_refused_and_left_alone(proof: Proof) -> None:
    target = proof.server.target
    name = BaseThrowaway(proof.engine, proof.sql, proof.state, target, proof.backup).name
    stranger = proof.engine.ensure_volume(name, {LABEL_STACK: target.stack, LABEL_ROLE: "somebody's"})
    with pytest.raises(Refused) as refused:
        proof.prove()
    assert refused.value.code == "name-taken"
    assert proof.engine.volume(name) == stranger


def test_what_a_killed_attempt_left_is_cleared_by_the_next_one(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """What no hand catches."""

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(BaseThrowaway, "remove", lambda _: None)
        patch.setattr("activities.postgres.restore_base.require_isolated", killed)
        with pytest.raises(KilledError):
            proof.prove()
    assert proof.left() != []
    assert proof.prove().passed
    assert proof.left() == []


def test_a_file_that_changed_is_found_before_anything_is_restored(proof: Proof) -> None:
    data = catalogue.data_directory(proof.shelf, proof.backup.id)
    victim = max((data / "base").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    with pytest.raises(BackupUnusable, match=victim.name):
        proof.prove()
    assert proof.level() is Level.NONE
    assert proof.left() == []


def test_a_table_role_or_sequence_that_is_missing_in_the_copy_takes_the_level_away(proof: Proof) -> None:
    assert proof.prove().passed
    contents = proof.backup.contents
    gone = contents.sequences[0].model_copy(update={"last_value": 10**6})
    for name, changes in (
        ("contents", {"tables": (*contents.tables, TableState(name="public.invoices", rows=3))}),
        ("roles", {"roles": (*contents.roles, "auditor")}),
        ("sequences", {"sequences": (gone,)}),
    ):
        proof.recorded(**{"tables": contents.tables, "roles": contents.roles, **changes})
        proven = proof.prove()
        assert not proven.passed
        assert [one.name for one in proven.proofs if one.passed is False] == [name]
        assert proof.level() is Level.NONE
        proof.recorded(tables=contents.tables, roles=contents.roles, sequences=contents.sequences)


def test_an_index_that_was_invalid_on_the_server_already_is_told_and_one_that_was_not_fails(
    proof: Proof,
) -> None:
    proof.server.do("CREATE INDEX half_made ON messages (body)")
    proof.server.do("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half_made'::regclass")
    proof.take("two")
    assert proof.backup.contents.invalid == ("half_made",)
    proven = proof.prove()
    (told,) = [one for one in proven.proofs if one.name == "indexes valid"]
    assert (told.passed, told.evidence) == (None, "invalid, as on the server at the backup: half_made")
    assert proven.passed, proven.proofs
    assert proof.level() is Level.RESTORED
    proof.recorded(invalid=())
    proven = proof.prove()
    assert [one.name for one in proven.proofs if one.passed is False] == ["indexes valid"]
    assert proof.level() is Level.NONE


ORPHANED = "SET session_replication_role = replica; DELETE FROM users WHERE id = 200"


def test_rows_without_what_they_refer_to_are_told_where_the_server_has_them_and_fail_where_not(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof.server.do(ORPHANED)
    proof.take("two")
    proven = proof.prove()
    (told,) = [one for one in proven.proofs if one.name == "foreign keys"]
    assert told.passed is None
    assert told.evidence.endswith("rows without their public.users; so has the server")
    assert proven.passed, proven.proofs
    assert proof.level() is Level.RESTORED

    monkeypatch.setattr(proof.sql, "live", _silent)
    proven = proof.prove()
    assert not proven.passed, "nobody said that it was so on the server"
    assert [one.name for one in proven.proofs if one.passed is False] == []
    assert "could not be asked" in proven.sentence
    assert proof.level() is Level.RESTORED, "and nothing was shown to be wrong"
    monkeypatch.undo()

    proof.server.do("INSERT INTO users VALUES (200, 'user 200')")
    proven = proof.prove()
    assert [one.name for one in proven.proofs if one.passed is False] == ["foreign keys"]
    assert ", 0 on the server" in proven.sentence
    assert proof.level() is Level.NONE


def _silent(*_: object, **__: object) -> None:
    raise Unavailable("PostgreSQL does not answer", code="postgres-unavailable")


def test_a_database_that_the_backup_does_not_hold_is_named_and_not_waited_for(proof: Proof) -> None:
    server = proof.server.target.postgres.model_copy(update={"database": "elsewhere"})
    target = proof.server.target.model_copy(update={"postgres": server})
    order = ProveBaseOrder(target=target, entry_id=proof.backup.id, checks=(CHECK,))
    proven = proof.hand.verify_base_restored(order)
    assert not proven.passed
    assert "the backup holds no database elsewhere" in proven.sentence
    assert proof.left() == []


def test_a_record_that_was_read_after_the_end_of_the_backup_is_not_compared(proof: Proof) -> None:
    assert parse_lsn(proof.backup.contents.at_lsn) <= parse_lsn(proof.backup.stop_lsn)
    tables = (TableState(name="public.made_later", rows=3),)
    proof.recorded(tables=tables, at_lsn="7F/0", roles=("made_later",))
    proven = proof.prove()
    said = {one.name: one.passed for one in proven.proofs}
    assert (said["contents"], said["roles"]) == (None, None)
    assert [name for name, passed in said.items() if passed is False] == []
    assert not proven.passed, "of what it held nothing was shown"
    assert proof.level() is Level.MANIFEST, "and nothing was shown to be wrong"


def test_a_backup_of_a_database_without_a_row_proves_nothing(
    server: Server, engine: Engine, sql: Sql, tokens: Tokens, state: Path
) -> None:
    server.do("TRUNCATE users, channels, messages, drafts, dr.marker")
    empty = Proof(server, engine, sql, tokens, state)
    proven = empty.prove()
    assert not proven.passed
    assert {one.name: one.passed for one in proven.proofs}["rows observed"] is False
