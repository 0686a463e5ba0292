"""A restored dump against its record: whatever differs is named, and nothing seen proves nothing."""

from collections.abc import Callable

import pytest

from domain.comparison import compare, passed
from domain.contents import Contents, DatabaseState, SequenceState, TableState
from domain.recovery import Proof

CHAT = DatabaseState(
    name="chat",
    file="chat.dump",
    tables=(
        TableState(name="public.users", rows=200, digest="sum64:7"),
        TableState(name="public.drafts", rows=0, digest="sum64:0"),
        TableState(name="public.archive", rows=9),
    ),
    sequences=(SequenceState(name="public.users_id_seq", last_value=200, covers=True),),
    extensions=("pgcrypto 1.3", "plpgsql 1.0"),
    last_marker=77,
    objects={"indexes": 4, "policies": 1, "grants": 9},
)
EMPTY = DatabaseState(name="spare", file="spare.dump", objects={"indexes": 0})
RECORDED = Contents(
    databases=(CHAT, EMPTY), roles=("app", "postgres"), memberships=("app in readers",), bootstrap="postgres"
)


def changed(**facts: object) -> Contents:
    """Return what was recorded with some facts of the database ``chat`` changed."""
    return RECORDED.model_copy(update={"databases": (CHAT.model_copy(update=facts), EMPTY)})


def table(place: int, **facts: object) -> Contents:
    tables = list(CHAT.tables)
    tables[place] = tables[place].model_copy(update=facts)
    return changed(tables=tuple(tables))


def of(proofs: tuple[Proof, ...], name: str) -> Proof:
    return next(proof for proof in proofs if proof.name == name)


def test_a_copy_that_holds_what_was_recorded_passes_and_says_how_much_that_was() -> None:
    proofs = compare(RECORDED, RECORDED)
    assert passed(proofs)
    assert of(proofs, "observed").evidence == "209 rows in 3 tables of 2 databases"
    assert "1 without digest: chat: public.archive" in of(proofs, "digests").evidence


@pytest.mark.parametrize(
    ("now", "name", "said"),
    [
        (RECORDED.model_copy(update={"databases": (CHAT,)}), "databases", "spare is missing"),
        (changed(tables=CHAT.tables[1:]), "tables", "chat: public.users is missing"),
        (
            changed(tables=(*CHAT.tables, TableState(name="public.more", rows=1))),
            "tables",
            "chat: public.more is there and was not",
        ),
        (table(0, rows=199), "rows", "chat: public.users has 199 rows, it had 200"),
        (table(0, rows=201), "rows", "chat: public.users has 201 rows, it had 200"),
        (table(0, digest="sum64:8"), "digests", "public.users has other rows than it had"),
        (changed(last_marker=76), "marker", "the ledger of chat ends at marker 76, it ended at 77"),
        (changed(last_marker=None), "marker", "ends at marker None"),
        (changed(objects={"indexes": 3, "policies": 1, "grants": 9}), "objects", "3 indexes, there were 4"),
        (changed(objects={"indexes": 4, "grants": 9}), "objects", "0 policies, there were 1"),
        (changed(extensions=("plpgsql 1.0",)), "extensions", "extension pgcrypto 1.3 is missing"),
        (changed(sequences=()), "sequences", "public.users_id_seq is missing"),
        (
            changed(sequences=(SequenceState(name="public.users_id_seq", last_value=None, covers=True),)),
            "sequences",
            "stands at None, it stood at 200",
        ),
        (
            changed(sequences=(SequenceState(name="public.users_id_seq", last_value=300, covers=False),)),
            "sequences",
            "stands before the greatest value",
        ),
        (RECORDED.model_copy(update={"roles": ("postgres",)}), "roles", "role app is missing"),
        (RECORDED.model_copy(update={"memberships": ()}), "roles", "app in readers is missing"),
    ],
)
def test_what_differs_is_named_and_nothing_else_fails(now: Contents, name: str, said: str) -> None:
    proofs = compare(RECORDED, now)
    assert [proof.name for proof in proofs if proof.passed is False] == [name]
    assert said in of(proofs, name).evidence
    assert not passed(proofs)


@pytest.mark.parametrize(
    "now",
    [
        Contents(),
        RECORDED.model_copy(update={"databases": ()}),
        changed(tables=()),
        changed(tables=(TableState(name="public.users", rows=0),)),
    ],
)
def test_a_look_that_saw_no_table_or_no_row_never_passes(now: Contents) -> None:
    """The same holds where nothing else was recorded either: nothing against nothing is no proof."""
    assert of(compare(RECORDED, now), "observed").passed is False
    assert not passed(compare(now, now))


def test_a_record_without_contents_is_nothing_to_compare_with() -> None:
    rebuilt = Contents(databases=(DatabaseState(name="chat", file="chat.dump"),))
    proofs = compare(rebuilt, RECORDED)
    assert {of(proofs, name).passed for name in ("databases", "tables", "rows", "digests", "roles")} == {None}
    assert not passed(proofs)


def test_a_sequence_that_went_on_or_counts_down_is_none_that_was_lost() -> None:
    on = changed(sequences=(SequenceState(name="public.users_id_seq", last_value=260, covers=True),))
    assert passed(compare(RECORDED, on))
    down = SequenceState(name="public.users_id_seq", last_value=-5, rising=False)
    before = changed(sequences=(down.model_copy(update={"last_value": -1}),))
    assert passed(compare(before, changed(sequences=(down,))))
    short = changed(sequences=(SequenceState(name="public.users_id_seq", last_value=3, covers=False),))
    assert passed(compare(short, short))


@pytest.mark.parametrize(
    "missing", ["observed", "databases", "tables", "rows", "digests", "objects", "roles"]
)
def test_a_check_that_was_not_made_is_not_a_check_that_passed(missing: str) -> None:
    proofs = compare(RECORDED, RECORDED)
    unmade: Callable[[Proof], Proof] = lambda proof: (  # noqa: E731 - of one line
        proof.model_copy(update={"passed": None}) if proof.name == missing else proof
    )
    assert not passed(tuple(unmade(proof) for proof in proofs))
