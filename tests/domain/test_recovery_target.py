"""Whether a copy stands at the moment that was asked for."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.recovery_target import check_target

TARGET = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "passed"), [(0, True), (-1, True), (-5, True), (-6, False), (1, False), (3600, False)]
)
@pytest.mark.mutant("M18")
def test_the_last_marker_lies_at_the_target_and_not_behind_it(seconds: int, passed: bool) -> None:  # noqa: FBT001
    assert check_target(TARGET, TARGET + timedelta(seconds=seconds)).passed is passed


def test_without_a_marker_nothing_is_known() -> None:
    assert check_target(TARGET, None).passed is None
