"""What a restored dump holds, against what was recorded at the snapshot that was dumped. Pure."""

from collections.abc import Callable, Iterator

from domain.contents import Contents, DatabaseState, SequenceState
from domain.recovery import Proof

_NAMED = 5
REQUIRED = ("observed", "databases", "tables", "rows", "digests", "objects", "roles")
"""Without these a dump is not proven, whatever else is right."""


def compare(before: Contents, now: Contents) -> tuple[Proof, ...]:
    """Compare a restored dump with its record: equal, not merely similar.

    Nothing recorded or nothing observed never passes.
    """
    found = {database.name: database for database in now.databases}
    pairs = [(b, found[b.name]) for b in before.databases if b.name in found]
    missing = [database.name for database in before.databases if database.name not in found]
    return (
        _observed(now),
        _judge("databases", [f"{name} is missing" for name in missing], f"{len(pairs)} restored", pairs),
        _judge("tables", _all(pairs, _tables), f"{_count(pairs)} tables, none missing, none more", pairs),
        _rows(pairs),
        _digests(pairs),
        _markers(pairs),
        _judge("objects", _all(pairs, _objects), _listed(pairs), pairs),
        _judge("extensions", _all(pairs, _extensions), "every extension is there", pairs),
        _judge("sequences", _all(pairs, _sequences), "none stands behind where it stood", pairs),
        _roles(before, now),
    )


def passed(proofs: tuple[Proof, ...]) -> bool:
    """Tell whether nothing failed and everything that is required was shown."""
    shown = {proof.name for proof in proofs if proof.passed}
    return all(proof.passed is not False for proof in proofs) and shown.issuperset(REQUIRED)


_Pairs = list[tuple[DatabaseState, DatabaseState]]
_Problems = Callable[[DatabaseState, DatabaseState], Iterator[str]]


def _observed(now: Contents) -> Proof:
    tables = [table for database in now.databases for table in database.tables]
    rows = sum(table.rows for table in tables)
    said = f"{rows:,} rows in {len(tables)} tables of {len(now.databases)} databases"
    # A check that saw nothing has checked nothing.
    return Proof(name="observed", passed=bool(tables) and rows > 0, evidence=said)


def _judge(name: str, problems: list[str], otherwise: str, pairs: _Pairs) -> Proof:
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        return Proof(name=name, passed=False, evidence="; ".join(problems[:_NAMED]) + more)
    if not any(before.tables or before.objects for before, _ in pairs):
        return Proof(name=name, passed=None, evidence="nothing was recorded to compare with")
    return Proof(name=name, passed=True, evidence=otherwise)


def _rows(pairs: _Pairs) -> Proof:
    problems = [
        f"{_of(before, name)} has {rows:,} rows, it had {then:,}"
        for before, now in pairs
        for name, then, rows in _common(before, now)
        if rows != then
    ]
    total = sum(table.rows for before, _ in pairs for table in before.tables)
    return _judge("rows", problems, f"{total:,} rows, table by table as recorded", pairs)


def _digests(pairs: _Pairs) -> Proof:
    problems: list[str] = []
    compared = 0
    undigested: list[str] = []
    for before, now in pairs:
        digests = {table.name: table.digest for table in now.tables}
        for table in before.tables:
            there = digests.get(table.name, "")
            if not table.digest or not there:
                undigested.append(_of(before, table.name))
                continue
            compared += 1
            if table.digest != there:
                problems.append(f"{_of(before, table.name)} has other rows than it had, in the same number")
    if problems or compared:
        without = f"; {len(undigested)} without digest: {', '.join(undigested[:_NAMED])}"
        said = f"{compared} tables hold the very rows they held{without if undigested else ''}"
        return _judge("digests", problems, said, pairs)
    return Proof(name="digests", passed=None, evidence="no table has a digest to compare")


def _markers(pairs: _Pairs) -> Proof:
    """Compare where the ledger stood, which says of which second the rows are."""
    stood = [(before, now) for before, now in pairs if before.last_marker is not None]
    problems = [
        f"the ledger of {before.name} ends at marker {now.last_marker}, it ended at {before.last_marker}"
        for before, now in stood
        if now.last_marker != before.last_marker
    ]
    if not stood:
        return Proof(name="marker", passed=None, evidence="no marker of the ledger was recorded")
    return _judge("marker", problems, f"the ledger ends at marker {stood[0][0].last_marker}", pairs)


def _tables(before: DatabaseState, now: DatabaseState) -> Iterator[str]:
    then, there = {t.name for t in before.tables}, {t.name for t in now.tables}
    yield from (f"{_of(before, name)} is missing" for name in sorted(then - there))
    if then:
        yield from (f"{_of(before, name)} is there and was not" for name in sorted(there - then))


def _objects(before: DatabaseState, now: DatabaseState) -> Iterator[str]:
    for kind, then in before.objects.items():
        there = now.objects.get(kind, 0)
        if there != then:
            yield f"{before.name}: {there} {kind}, there were {then}"


def _extensions(before: DatabaseState, now: DatabaseState) -> Iterator[str]:
    there = {extension.split(" ")[0] for extension in now.extensions}
    for extension in before.extensions:
        if extension.split(" ")[0] not in there:
            yield f"{before.name}: extension {extension} is missing"


def _sequences(before: DatabaseState, now: DatabaseState) -> Iterator[str]:
    there = {sequence.name: sequence for sequence in now.sequences}
    for then in before.sequences:
        found = there.get(then.name)
        said = "is missing" if found is None else _behind(then, found)
        if said:
            yield f"{_of(before, then.name)} {said}"


def _behind(then: SequenceState, now: SequenceState) -> str:
    if then.covers and now.covers is False:
        return "stands before the greatest value in its table"
    moved_back = then.last_value is not None and (now.last_value is None or now.last_value < then.last_value)
    if then.rising and moved_back:
        return f"stands at {now.last_value}, it stood at {then.last_value}"
    return ""


def _roles(before: Contents, now: Contents) -> Proof:
    gone = [f"role {name} is missing" for name in before.roles if name not in now.roles]
    gone += [f"{member} is missing" for member in before.memberships if member not in now.memberships]
    if not before.roles:
        return Proof(name="roles", passed=None, evidence="no role was recorded")
    said = f"{len(before.roles)} roles and {len(before.memberships)} memberships are there"
    return Proof(name="roles", passed=not gone, evidence="; ".join(gone[:_NAMED]) or said)


def _all(pairs: _Pairs, problems: _Problems) -> list[str]:
    return [said for before, now in pairs for said in problems(before, now)]


def _common(before: DatabaseState, now: DatabaseState) -> Iterator[tuple[str, int, int]]:
    there = {table.name: table.rows for table in now.tables}
    for table in before.tables:
        if table.name in there:
            yield table.name, table.rows, there[table.name]


def _count(pairs: _Pairs) -> int:
    return sum(len(before.tables) for before, _ in pairs)


def _listed(pairs: _Pairs) -> str:
    totals: dict[str, int] = {}
    for before, _ in pairs:
        for kind, count in before.objects.items():
            totals[kind] = totals.get(kind, 0) + count
    return ", ".join(f"{count} {kind}" for kind, count in totals.items())


def _of(database: DatabaseState, name: str) -> str:
    return f"{database.name}: {name}"
