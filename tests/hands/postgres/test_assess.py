from datetime import datetime
from pathlib import Path

import pytest

from activities.engine import Engine
from activities.faults import DamageOrder, Faults
from activities.postgres.assess import Diagnosis
from activities.postgres.integrity_scans import read_amcheck, scan_seconds
from activities.postgres.quiet import Quiet
from activities.postgres.sql import Sql
from activities.postgres.witnesses import read_control
from domain.diagnosis import Finding, Look, Verdict
from domain.errors import Refused
from domain.order import Target, TargetOrder
from tests.faults.record import Seen
from tests.hands.postgres.conftest import Server


@pytest.fixture
def diagnosis(engine: Engine, sql: Sql, state: Path) -> Diagnosis:
    return Diagnosis(engine, sql, state)


@pytest.fixture
def faults(engine: Engine, sql: Sql) -> Faults:
    return Faults(engine, sql)


def write(server: Server, path: str, offset: int, content: bytes) -> None:
    """Overwrite part of a file of PGDATA behind the server's back."""
    with (server.volume_path / path).open("r+b") as file:
        file.seek(offset)
        file.write(content)


def forget(server: Server, relation: str) -> str:
    """Write a relation out, drop it from the server's cache, and return its file."""
    server.do("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
    server.do("CHECKPOINT")
    evict = "SELECT count(pg_buffercache_evict(bufferid)) FROM pg_buffercache WHERE relfilenode = "
    server.ask(f"{evict} pg_relation_filenode('{relation}')")
    return str(server.ask(f"SELECT pg_relation_filepath('{relation}')"))


def test_a_healthy_server_is_sound_by_checks_that_read_its_data(server: Server, diagnosis: Diagnosis) -> None:
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.SOUND
    assert found.answers
    assert found.timeline == 1
    assert found.current_lsn
    assert found.first_evidence_at is None
    sound = {w.look for w in found.witnesses if w.finding is Finding.SOUND}
    assert sound >= {Look.CONTAINER, Look.LOG, Look.CONTROL, Look.AMCHECK, Look.FULL_READ, Look.COUNTS}


@pytest.mark.fault("B8")
def test_damaged_pages_are_corruption_with_every_block_named(
    server: Server, diagnosis: Diagnosis, faults: Faults, seen: Seen
) -> None:
    """F-B8: a relation's pages damaged on the live directory: corrupt, with the evidence kept."""
    injected = faults.inject_damaged_pages(DamageOrder(target=server.target, pages=5))
    seen(injected.evidence)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.CORRUPT
    assert found.answers
    assert injected.first_block is not None
    blocks = {b.block for b in found.damaged_blocks if b.relation == "public.messages"}
    assert blocks == set(range(injected.first_block, injected.first_block + 5))
    assert found.damaged_blocks[0].path.startswith("1663/")
    assert found.damaged_tables == ("public.messages",)
    assert found.damaged_indexes == ()
    assert found.first_evidence_at is not None
    # The line of the injection's own read; Docker may take it a moment after the read had its answer.
    log = server.client.api.logs(server.target.postgres.container_id, timestamps=True).decode()
    first = next(line for line in log.splitlines() if "invalid page" in line)
    assert found.first_evidence_at == datetime.fromisoformat(f"{first[:26]}+00:00")
    assert len({w.look for w in found.witnesses if w.finding is Finding.DAMAGED}) >= 2


@pytest.mark.fault("B8")
def test_a_destroyed_control_file_is_corruption_of_a_server_that_is_down(
    server: Server, diagnosis: Diagnosis, faults: Faults, seen: Seen
) -> None:
    """F-B8: pg_control destroyed on a stopped server: corrupt, with the evidence kept."""
    injected = faults.inject_control_file_destroyed(TargetOrder(target=server.target))
    seen(injected.evidence)
    control = server.volume_path / "global" / "pg_control"
    evidence = control.read_bytes()
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.CORRUPT
    assert not found.running
    assert not found.answers
    assert found.system_identifier is None
    damaged = {w.look for w in found.witnesses if w.finding is Finding.DAMAGED}
    assert damaged == {Look.CONTROL, Look.LOG}
    told = {w.look: w.evidence for w in found.witnesses if w.finding is Finding.DAMAGED}
    assert "does not match" in told[Look.CONTROL]
    assert found.because in told.values()
    assert control.read_bytes() == evidence, "what was found is left as it was"


def test_a_stopped_server_is_not_corrupt(server: Server, diagnosis: Diagnosis, engine: Engine) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.OTHER_TROUBLE
    assert found.fitting_scenario == "CompleteOutage"
    assert found.system_identifier


def test_zeroed_pages_are_seen_by_counting(server: Server, diagnosis: Diagnosis) -> None:
    server.do("VACUUM messages")
    file = forget(server, "messages")
    write(server, file, 40 * 8192, bytes(3 * 8192))
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    said = {w.look: w.finding for w in found.witnesses}
    assert said[Look.AMCHECK] is Finding.SOUND
    assert said[Look.FULL_READ] is Finding.SOUND
    assert said[Look.COUNTS] is Finding.DAMAGED
    assert found.verdict is Verdict.CORRUPT
    assert "public.messages" in found.because


def test_a_damaged_index_alone_is_index_damage(server: Server, diagnosis: Diagnosis) -> None:
    file = forget(server, "messages_by_channel")
    write(server, file, 20 * 8192, b"\xa5" * 8192)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.INDEX_ONLY, found
    assert found.damaged_indexes == ("public.messages_by_channel",)
    assert found.damaged_tables == ()


@pytest.mark.long
def test_a_lock_that_holds_up_the_full_read_is_not_corruption(server: Server, diagnosis: Diagnosis) -> None:
    with server.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE drafts IN ACCESS EXCLUSIVE MODE")
        found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is not Verdict.CORRUPT
    assert any(w.look is Look.FULL_READ and w.finding is Finding.NOT_MEASURED for w in found.witnesses)


def test_a_role_that_may_not_read_is_not_corruption(server: Server, diagnosis: Diagnosis) -> None:
    server.do("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'not-a-secret: a\\test'")
    server.do("ALTER ROLE reader NOSUPERUSER")
    weak = server.target.postgres.model_copy(update={"user": "reader"})
    target = server.target.model_copy(update={"postgres": weak})
    found = diagnosis.assess_corruption(TargetOrder(target=target))
    assert found.verdict in {Verdict.UNKNOWN, Verdict.SOUND}
    assert not any(w.finding is Finding.DAMAGED for w in found.witnesses)


def test_without_amcheck_it_is_said_that_nothing_was_checked(server: Server, diagnosis: Diagnosis) -> None:
    server.do("DROP EXTENSION amcheck")
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    checked = next(w for w in found.witnesses if w.look is Look.AMCHECK)
    assert checked.finding is Finding.NOT_MEASURED
    assert "not installed" in checked.evidence


def test_a_full_disk_in_the_log_of_a_server_that_is_down_is_not_corruption(
    server: Server, diagnosis: Diagnosis, engine: Engine
) -> None:
    server.do(
        'DO $$ BEGIN RAISE WARNING \'could not write to file "pg_wal/xlogtemp.1":'
        " No space left on device'; END $$"
    )
    engine.kill(server.target.postgres.container_id)
    engine.stop(server.target.postgres.container_id, 5)
    found = diagnosis.assess_corruption(TargetOrder(target=server.target))
    assert found.verdict is Verdict.OTHER_TROUBLE
    assert "No space left" in found.because


def test_a_container_of_another_project_is_refused(server: Server, diagnosis: Diagnosis) -> None:
    other: Target = server.target.model_copy(update={"project": "somebody-else"})
    with pytest.raises(Refused, match="target-changed"):
        diagnosis.assess_corruption(TargetOrder(target=other))


def test_vacuum_is_kept_quiet_and_set_back(server: Server, engine: Engine, sql: Sql, state: Path) -> None:
    quiet = Quiet(engine, sql, state)
    order = TargetOrder(target=server.target)
    assert "off" in quiet.ensure_quiet(order).sentence
    assert "off" in quiet.ensure_quiet(order).sentence
    assert server.ask("SHOW autovacuum") == "off"
    assert "on again" in quiet.ensure_unquiet(order).sentence
    assert server.ask("SHOW autovacuum") == "on"
    assert "not touched" in quiet.ensure_unquiet(order).sentence
    assert server.ask("SELECT count(*) FROM pg_file_settings WHERE name = 'autovacuum'") == 0


def test_quiet_leaves_a_server_that_does_not_answer_alone(
    server: Server, engine: Engine, sql: Sql, state: Path
) -> None:
    engine.stop(server.target.postgres.container_id, 20)
    quiet = Quiet(engine, sql, state)
    assert "does not answer" in quiet.ensure_quiet(TargetOrder(target=server.target)).sentence
    assert "not touched" in quiet.ensure_unquiet(TargetOrder(target=server.target)).sentence


def test_an_index_that_only_trips_over_its_table_is_not_called_damaged() -> None:
    scan = read_amcheck(
        'heap table "chat.public.m":\n    ERROR:  invalid page in block 5 of relation base/1/2\n'
        'btree index "chat.public.m_pkey":\n    ERROR:  invalid page in block 5 of relation base/1/2\n'
    )
    assert scan is not None
    assert (scan.finding, scan.tables, scan.indexes) == (Finding.DAMAGED, ("public.m",), ())
    assert scan.blocks == (("base/1/2", 5),)


def test_complaints_are_told_apart_whatever_the_names_of_database_and_relation_hold() -> None:
    assert read_amcheck("", database="my.db") is None
    scan = read_amcheck(
        'heap table "my.db.public.we\nird", block 3, offset 2:\n    xmin 5 precedes oldest valid\n'
        'btree index "my.db.public.in"d\nex":\n    ERROR:  index "in"d\nex" lacks\n    a downlink\n',
        database="my.db",
    )
    assert scan is not None
    assert (scan.tables, scan.indexes) == (("public.we\nird",), ('public.in"d\nex',))


def test_a_control_file_that_says_nothing_is_damaged() -> None:
    assert read_control("").witness.finding is Finding.DAMAGED
    assert read_control("pg_controldata: error: could not read file: read 0 of 296").system_identifier is None


def test_a_scan_has_time_in_proportion_to_what_it_reads() -> None:
    assert scan_seconds(0, 120) == 120
    assert scan_seconds(1_000_000_000, 120) == 120
    assert scan_seconds(20_000_000_000, 120) == 2000
