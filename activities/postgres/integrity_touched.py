"""What the last WAL wrote to, looked at again in every database: it is on the way of the downtime."""

from collections.abc import Callable
from dataclasses import replace

from activities.engine import Engine
from activities.postgres.integrity_others import other_databases
from activities.postgres.integrity_scans import Place, Scan, amcheck, watched
from activities.postgres.integrity_sql import check_rows, last_marker, stack_checks
from activities.postgres.integrity_wal import Touched, Written, touched_in, written_since
from activities.postgres.sql import Connection, Sql
from domain.recovery import Proof, VerifyOrder

_SECONDS = 120
Judge = Callable[[str, Scan], Proof]


def check_touched(
    engine: Engine,
    sql: Sql,
    order: VerifyOrder,
    place: Place,
    proof: Judge,
    *,
    since: str | None,
    until: str,
) -> tuple[list[Proof], int | None]:
    """Return the proofs of the tables that were written to since an LSN, and the ledger's last marker.

    Without ``since``, and where the WAL cannot be read, every table is looked at. A backend that dies
    ends the look.
    """
    written = _written(engine, order, since, until)
    with sql.copy(order.copy_, timeout_seconds=_SECONDS) as connection:
        proofs, crashed = _look(engine, connection, place, proof, touched_in(connection, written), until)
        if crashed:
            return proofs, None
        others = other_databases(connection)
        proofs += stack_checks(connection, order.checks)
        marked, marker = last_marker(connection)
    for name in others:
        with sql.copy(order.copy_, database=name, timeout_seconds=_SECONDS) as connection:
            touched = touched_in(connection, written)
            if touched.known and not touched.oids:
                continue
            more, crashed = _look(engine, connection, replace(place, database=name), proof, touched, until)
        # A database beside the main one may be without any row.
        proofs += [
            one.model_copy(update={"name": f"{one.name} {name}"})
            for one in more
            if one.name != "rows observed"
        ]
        if crashed:
            return proofs, None
    return [*proofs, marked], marker


def _written(engine: Engine, order: VerifyOrder, since: str | None, until: str) -> Written | None:
    if since is None:
        return None
    if since == until:
        return {}
    return written_since(engine, order.target, order.copy_.container, since, order.copy_.timeline)


def _look(
    engine: Engine, connection: Connection, place: Place, proof: Judge, touched: Touched, until: str
) -> tuple[list[Proof], bool]:
    """Return the proofs of the touched tables of one database, and whether a backend died of them."""
    if touched.known and not touched.oids:
        said = f"no table was written to since it was verified, up to {until}"
        return [Proof(name="touched tables", passed=True, evidence=said)], False
    scan = amcheck(engine, place, limit_seconds=_SECONDS, heapallindexed=False, tables=touched.patterns)
    proofs = [proof("amcheck", scan)]
    if scan.crashed:
        return proofs, True
    only = touched.oids if touched.known else None
    return [*proofs, *watched(lambda: check_rows(connection, only), "counting what was touched")], False
