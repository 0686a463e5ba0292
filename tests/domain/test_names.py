"""Names that must tell one recovery from another."""

from datetime import UTC, datetime

from domain.names import new_recovery_id, short_id

AT = datetime(2026, 11, 22, 7, 2, 30, tzinfo=UTC)


def test_two_recoveries_within_a_minute_have_different_ids() -> None:
    # As Temporal numbers its runs: the first digits are a clock.
    runs = ("01a20210-1111-7ceb-9215-cdad9737b560", "01a20210-9f3c-7db1-8322-d2fbe22075e6")
    first, second = (new_recovery_id(AT, run) for run in runs)
    assert first == "20261122T0702Z-9737b560"
    assert first != second
    assert short_id(first) != short_id(second)
