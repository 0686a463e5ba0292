"""Bringing a search engine back: what is asked for, which backup fits, and what was done. Pure."""

from collections.abc import Iterable

from domain.entries import Entry, newest_first
from domain.holdings import Holding
from domain.order import Outcome, TargetOrder
from domain.recovery import Proof

SNAPSHOT = "snapshot"
DUMP = "dump"


class SearchRestoreOrder(TargetOrder):
    """Have the search engine hold what a backup holds; its data until then are kept aside."""

    entry_id: str
    service: str = ""
    """Empty when the stack has one search engine."""


class SearchRestored(Outcome):
    """What serves now, and where the data are that served before."""

    entry_id: str
    kept_volume: str
    proofs: tuple[Proof, ...] = ()


def misfit(entry: Entry, version: str) -> str:
    """Return why a backup cannot be loaded into an engine of this version, or nothing."""
    known = entry.source.version
    if entry.kind == SNAPSHOT and known != version:
        said = f"a snapshot is read by the version alone that wrote it: {known or 'unknown'}"
        return f"{said}, and the engine is {version or 'unknown'}"
    if entry.kind == DUMP and _numbers(known) > _numbers(version):
        return f"the dump is of {known}, and the engine of {version} is older"
    return ""


def instead(entries: Iterable[Entry], version: str) -> str:
    """Return what can be done instead: the newest backup that fits, else the rows that it is a copy of."""
    fitting = [
        one for one in newest_first(entries) if one.store == "meilisearch" and not misfit(one, version)
    ]
    rebuilt = "have the index rebuilt from SQL (ensure_search_in_line)"
    return f"take {fitting[0].kind} {fitting[0].id}, or {rebuilt}" if fitting else rebuilt


def told(recorded: Iterable[Holding]) -> str:
    """Return how much a backup holds, for people."""
    held = list(recorded)
    return f"{sum(one.count for one in held):,} documents in {len(held)} indexes"


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.removeprefix("v").partition("-")[0].split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts)
