"""Which backup of a search engine fits which version, and what can be done instead."""

from datetime import UTC, datetime

import pytest

from domain.entries import Entry, Source
from domain.search_restore import instead, misfit


def entry(kind: str, version: str, day: int = 1) -> Entry:
    at = datetime(2026, 11, day, tzinfo=UTC)
    name = f"202611{day:02}T000000Z-{kind}"
    return Entry(
        id=name,
        store="meilisearch",
        kind=kind,
        path=f"meilisearch/{kind}/{name}",
        started_at=at,
        ended_at=at,
        bytes=1,
        sha256="",
        source=Source(version=version),
    )


@pytest.mark.parametrize(
    ("kind", "wrote", "reads", "fits"),
    [
        ("snapshot", "1.6.2", "1.6.2", True),
        ("snapshot", "1.6.2", "1.7.0", False),
        ("snapshot", "1.7.0", "1.6.2", False),
        ("snapshot", "", "1.6.2", False),
        ("snapshot", "1.6.2", "", False),
        ("dump", "1.6.2", "1.6.2", True),
        ("dump", "1.6.2", "1.10.0", True),
        ("dump", "1.10.0", "1.6.2", False),
    ],
)
def test_a_snapshot_is_for_its_version_and_a_dump_for_later_ones_too(
    kind: str, wrote: str, reads: str, *, fits: bool
) -> None:
    assert (misfit(entry(kind, wrote), reads) == "") is fits


def test_instead_the_newest_that_fits_is_named_and_else_the_rows_in_sql() -> None:
    known = [entry("snapshot", "1.5.0", 9), entry("dump", "1.5.0", 2), entry("dump", "1.5.0", 3)]
    assert "dump 20261103T000000Z-dump" in instead(known, "1.6.2")
    assert instead(known[:1], "1.6.2").startswith("have the index rebuilt from SQL")
