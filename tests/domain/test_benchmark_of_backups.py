"""What the benchmark of backups says of its figures."""

from bench.backup import Measured, Proven, Taken, tell
from bench.figures import Findings, Table


def told(measured: Measured) -> tuple[Table, Table]:
    found = Findings("backup", {"cores": "2"})
    tell(found, measured)
    assert found.data["database_bytes"] == measured.database_bytes
    taking, verifying = found.tables
    return taking, verifying


def base(*seconds: float) -> Taken:
    return Taken("base backup", "pg_basebackup to nowhere", 2 * 10**9, list(seconds), [8.0])


def test_a_base_backup_is_judged_by_its_median_beside_the_plain_command() -> None:
    (row,) = told(Measured(taken=[base(10.0, 10.0, 99.0)]))[0].rows
    assert row == (
        *("base backup", "2.00 GB", "10.0", "200", "pg_basebackup to nowhere", "8.0", "0.80"),
        *("at least 0.8", "met"),
    )
    assert told(Measured(taken=[base(10.1)]))[0].rows[0][-1] == "missed"


def test_a_verification_is_judged_beside_a_raw_restore_and_told_by_the_gigabyte() -> None:
    proven = [Proven("dump", "pg_restore", 2 * 10**9, seconds, 10.0) for seconds in (20.0, 20.1)]
    rows = told(Measured(proven=proven))[1].rows
    assert [(row[3], row[6], row[8]) for row in rows] == [("10.0", "2.00", "met"), ("10.1", "2.01", "missed")]


def test_what_was_not_measured_is_said_and_is_no_figure() -> None:
    measured = Measured(
        taken=[Taken("again", seconds=[1.0])],
        proven=[Proven("objects", "put", 0, 3.0, None)],
        left_out=["Redis: nothing backs it up"],
    )
    taking, verifying = told(measured)
    assert taking.rows[0] == ("again", "", "1.0", "", "", "", "", "", "")
    assert "Left out: Redis" in taking.note
    assert verifying.rows[0][5:] == ("not measured", "", "", "")
