"""What passes a verification of backups, and all that does not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from domain.backup_policy import BackupPolicy
from domain.backups import Level
from domain.calendars import parse_calendar
from domain.dumps import RestoreProven
from domain.entries import REBUILT, Entry, Source, place_of
from domain.recovery import Proof
from domain.stack import Kind, Service, Stack
from domain.verification import Checked, Pick, judged, of_restore
from domain.verification_due import Due, due_of, longest_interval
from domain.verification_look import look, picked, unprotected
from tests.faults.record import Seen

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def entry(store: str, kind: str, at: datetime, **other: Any) -> Entry:
    name = f"{at:%Y%m%dT%H%M%SZ}-{kind}"
    values: dict[str, Any] = {
        "id": name,
        "store": store,
        "kind": kind,
        "path": place_of(store, kind, name),
        "started_at": at,
        "ended_at": at + timedelta(minutes=1),
        "bytes": 1000,
        "sha256": "",
        "scheduled_for": at,
    }
    return Entry.model_validate(values | other)


def stack(*kinds: Kind, **schedules: Any) -> Stack:
    services = {kind.value: Service(kind=kind) for kind in (Kind.POSTGRES, *kinds)}
    policy = BackupPolicy.model_validate({"schedules": schedules})
    return Stack(stack="lab", project="lab", services=services, backup=policy)


def only_postgres(**schedules: Any) -> tuple[Due, ...]:
    return due_of(stack(stack=None, **schedules))


def shelf(age: timedelta = timedelta(hours=4), **other: Any) -> list[Entry]:
    """Return two backups of each kind of PostgreSQL, the newest of that age."""
    return [
        entry("postgres", kind, NOW - age - extra, **other)
        for kind in ("base", "daily", "weekly")
        for extra in (timedelta(), timedelta(days=1))
    ]


def shown(pick: Pick) -> Checked:
    proofs = (Proof(name="rows", passed=True, evidence="20,000 rows"),)
    return of_restore(pick, RestoreProven(entry=pick.entry, passed=True, proofs=proofs, sentence="restored"))


def verified(due: tuple[Due, ...], entries: list[Entry], as_of: datetime = NOW) -> list[Checked]:
    looked = look(due, entries, as_of=as_of)
    return [*looked, followed(), *(shown(pick) for pick in picked(due, entries, 7))]


def followed(*, passed: bool | None = True) -> Checked:
    return Checked(what="archived", store="postgres", kind="wal", passed=passed, evidence="3 segments")


def wrong_in(due: tuple[Due, ...], checks: list[Checked]) -> str:
    passed, rule = judged(due, checks)
    assert not passed
    return rule


def test_all_there_fresh_and_restored_passes() -> None:
    passed, rule = judged(only_postgres(), verified(only_postgres(), shelf()))
    assert passed, rule
    assert rule.startswith("all 3 kinds of backups are there and fresh; 5 were restored")


def test_every_job_of_the_policy_has_what_it_puts_on_the_shelf() -> None:
    due = due_of(stack(Kind.REDIS, Kind.OBJECTS, Kind.SEARCH, Kind.HASURA))
    assert {one.place for one in due} >= {("redis", "rdb"), ("minio", "copy"), ("hasura", "metadata")}
    assert not {one.store for one in due_of(stack())} & {"redis", "minio", "meilisearch", "hasura"}


@pytest.mark.parametrize(
    ("at", "hours"),
    [
        ("0 2 * * *", 24),
        ("0 3 * * 0", 7 * 24),
        ("10 * * * *", 1),
        ("0 9-17 * * mon-fri", 64),
        ("0 0 31 * *", 61 * 24),
        ("0 0 29 2 *", 1461 * 24),
        ("0,30 4,5 * * *", 22.5),
    ],
)
def test_the_longest_time_between_two_runs_is_read_from_the_calendar(at: str, hours: float) -> None:
    assert longest_interval(parse_calendar(at)) == timedelta(hours=hours)


@pytest.mark.fault("C4")
def test_a_schedule_that_died_in_silence_is_found_by_the_age_of_what_it_made(seen: Seen) -> None:
    """F-C4: the last dump is two days old, and nobody said anything."""
    due, entries = only_postgres(), shelf()
    old = [one for one in entries if one.kind != "daily"]
    old += [entry("postgres", "daily", NOW - timedelta(days=2))]
    rule = wrong_in(due, verified(due, old))
    assert rule.startswith("postgres daily 20261120T060000Z-daily: fresh: 48 h 0 min old, 30 h 11 min")
    seen(rule)


def test_the_age_counts_from_the_time_that_was_due_however_late_the_run() -> None:
    late = entry("postgres", "daily", NOW - timedelta(days=3), ended_at=NOW, started_at=NOW)
    (fresh,) = (c for c in look(only_postgres(), [late], as_of=NOW) if c.what == "fresh")
    assert fresh.passed is False


def test_a_backup_that_is_dated_ahead_is_not_fresh() -> None:
    ahead = entry("postgres", "daily", NOW + timedelta(days=30))
    (fresh,) = (c for c in look(only_postgres(), [ahead], as_of=NOW) if c.what == "fresh")
    assert fresh.passed is False
    assert "ahead of the clock" in fresh.evidence


@pytest.mark.fault("C5")
@pytest.mark.parametrize("size", [0, 20, 499])
def test_a_backup_of_less_than_half_the_one_before_is_suspicious(size: int, seen: Seen) -> None:
    """F-C5: zero bytes, the twenty of a failed pipe, and just under the half."""
    entries = shelf()
    entries[2] = entries[2].model_copy(update={"bytes": size})
    rule = wrong_in(only_postgres(), verified(only_postgres(), entries))
    assert rule.startswith("postgres daily 20261122T020000Z-daily: size:")
    seen(rule)
    entries[2] = entries[2].model_copy(update={"bytes": 500})
    assert judged(only_postgres(), verified(only_postgres(), entries))[0]


def test_an_empty_first_backup_is_no_backup() -> None:
    alone = [entry("postgres", kind, NOW, bytes=0) for kind in ("base", "daily", "weekly")]
    assert "it is empty" in wrong_in(only_postgres(), verified(only_postgres(), alone))


def test_a_store_of_the_policy_without_any_backup_fails() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    assert wrong_in(due, verified(due, shelf())).startswith("redis rdb: there: the policy wants it")


def test_files_that_redis_does_not_write_are_not_missed_while_its_snapshots_are_there() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    entries = [*shelf(), entry("redis", "rdb", NOW - timedelta(minutes=50))]
    passed, rule = judged(due, verified(due, entries))
    assert passed, rule


def test_what_the_stack_file_pauses_may_be_old_and_must_be_restorable() -> None:
    due = only_postgres(**{"postgres-daily": {"paused_because": "the disk is full"}})
    entries = [*shelf(), *(entry("postgres", "daily", NOW - timedelta(days=n)) for n in (8, 9))]
    entries = [one for one in entries if one.kind != "daily" or one.started_at < NOW - timedelta(days=7)]
    passed, rule = judged(due, verified(due, entries))
    assert passed, rule
    unrestored = [c for c in verified(due, entries) if (c.what, c.kind) != ("restored", "daily")]
    assert wrong_in(due, unrestored) == "not looked at: postgres daily: restored"


def test_the_latest_of_each_kind_one_by_chance_and_the_oldest_in_rotation_are_picked() -> None:
    restored_lately = {"verified": Level.RESTORED, "verified_at": NOW}
    entries = [
        entry("postgres", kind, NOW - timedelta(days=day), **(restored_lately if kind == "daily" else {}))
        for kind in ("base", "daily", "weekly")
        for day in range(4)
    ]
    due = only_postgres()
    picks = picked(due, entries, 3)
    assert [pick.why for pick in picks] == ["the latest"] * 3 + ["by chance", "the oldest"]
    assert len({pick.entry.id for pick in picks}) == 5
    oldest = picks[-1].entry
    assert oldest.started_at == NOW - timedelta(days=3)
    assert oldest.kind != "daily", "those were restored, the others never"
    by_chance = {picked(due, entries, seed)[3].entry.id for seed in range(9)}
    assert len(by_chance) == 9, "every seed draws another one"


def test_a_backup_that_somebody_typed_to_be_due_in_years_grows_old_like_any_other() -> None:
    typed = [
        entry("postgres", kind, NOW - timedelta(days=40), scheduled_for=NOW + timedelta(days=20_000))
        for kind in ("base", "daily", "weekly")
    ]
    rule = wrong_in(only_postgres(), verified(only_postgres(), typed))
    assert ": fresh: 960 h" in rule
    later = shelf()
    picks = [pick.entry for pick in picked(only_postgres(), [*typed, *later], 0) if pick.why == "the latest"]
    assert picks == later[::2], "and is not the latest for ever"


def test_a_second_service_of_a_kind_that_nothing_backs_up_is_not_passed_over() -> None:
    first = {"queue": Service(kind=Kind.REDIS), "cache": Service(kind=Kind.REDIS)}
    services = {"postgres": Service(kind=Kind.POSTGRES), **first}
    two = stack().model_copy(update={"services": services})
    (check,) = unprotected(two)
    assert (check.title, check.passed) == ("redis cache: there", False)
    due = due_of(
        two.model_copy(update={"backup": BackupPolicy.model_validate({"schedules": {"stack": None}})})
    )
    entries = [*shelf(), entry("redis", "rdb", NOW - timedelta(minutes=50))]
    rule = wrong_in(due, [*verified(due, entries), check])
    assert rule.startswith("redis cache: there: nothing backs up the service cache")
    meant = two.backup.model_copy(update={"leave_out": ("cache",)})
    assert unprotected(two.model_copy(update={"backup": meant})) == []
    never = BackupPolicy.model_validate({"schedules": {"redis": None}})
    assert unprotected(two.model_copy(update={"backup": never})) == [], "nobody wants any of that kind"
    assert unprotected(stack(Kind.REDIS, Kind.OBJECTS, Kind.SEARCH, Kind.HASURA)) == []


@pytest.mark.fault("C7")
def test_a_dump_of_another_server_than_the_base_backups_are_of_is_no_backup(seen: Seen) -> None:
    """F-C7: the newest daily dump on the shelf is one of another stack's server."""

    def of(system: str) -> dict[str, Any]:
        return {"source": {"system_identifier": system}}

    entries = [entry("postgres", kind, NOW - timedelta(hours=4), **of("1")) for kind in ("base", "weekly")]
    mine = entry("postgres", "daily", NOW - timedelta(hours=5), **of("1"))
    assert judged(only_postgres(), verified(only_postgres(), [*entries, mine]))[0]
    theirs = entry("postgres", "daily", NOW - timedelta(hours=3), **of("2"))
    rule = wrong_in(only_postgres(), verified(only_postgres(), [*entries, mine, theirs]))
    assert "it is of system 2, the base backups are of 1" in rule
    seen(rule)


@pytest.mark.parametrize("passed", [False, None])
def test_without_the_wal_that_follows_it_no_base_backup_is_enough(passed: bool | None) -> None:  # noqa: FBT001 - one of a table
    due, whole = only_postgres(), verified(only_postgres(), shelf())
    less = [check for check in whole if check.what != "archived"]
    assert wrong_in(due, less) == "not looked at: postgres wal: archived"
    assert "postgres wal: archived: 3 segments" in wrong_in(due, [*less, followed(passed=passed)])
    no_base = only_postgres(**{"postgres-base": None})
    assert judged(no_base, [check for check in less if check.kind != "base"])[0], "dumps need none"


def test_a_restore_without_evidence_has_shown_nothing() -> None:
    (pick, *_) = picked(only_postgres(), shelf(), 0)
    hollow = of_restore(pick, RestoreProven(entry=pick.entry, passed=True, sentence="fine"))
    assert hollow.passed is None


def test_nothing_due_is_nothing_protected() -> None:
    assert judged((), [])[0] is False


WHAT = ("there", "fresh", "size", "restored")
CHECKS = some.lists(
    some.builds(
        Checked,
        what=some.sampled_from(WHAT),
        store=some.just("postgres"),
        kind=some.sampled_from(("base", "daily", "weekly")),
        entry_id=some.just(""),
        passed=some.sampled_from((True, False, None)),
        evidence=some.just("seen"),
        why=some.just(""),
        proofs=some.just(()),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(CHECKS)
def test_whatever_was_looked_at_nothing_passes_without_all_of_it_shown(checks: list[Checked]) -> None:
    due = only_postgres()
    passed, rule = judged(due, [*checks, followed()])
    assert rule
    if passed:
        assert all(check.passed for check in checks)
        assert {(c.kind, c.what) for c in checks} == {
            (k, w) for k in ("base", "daily", "weekly") for w in WHAT
        }
        assert not judged(due, checks)[0]


@settings(deadline=None)
@given(CHECKS, some.integers(min_value=0))
def test_taking_evidence_away_never_makes_a_verification_pass(checks: list[Checked], at: int) -> None:
    due = only_postgres()
    whole = [*verified(due, shelf()), *(check for check in checks if check.passed)]
    assert judged(due, whole)[0]
    gone = whole[at % len(whole)]
    less = [check for check in whole if (check.what, check.kind) != (gone.what, gone.kind)]
    assert not judged(due, less)[0]
    doubted = [c.model_copy(update={"passed": None}) if c is gone else c for c in whole]
    assert not judged(due, doubted)[0]


def test_append_only_files_are_due_where_the_server_keeps_them_even_if_none_was_ever_copied() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    at = NOW - timedelta(minutes=50)
    off = entry("redis", "rdb", at)
    on = off.model_copy(update={"source": Source(also=("aof",))})
    there = entry("redis", "aof", at)

    def of_aof(*entries: Entry) -> list[bool | None]:
        checks = look(due, entries, as_of=NOW)
        return [check.passed for check in checks if check.kind == "aof" and check.what == "there"]

    assert of_aof(off) == []
    assert of_aof(on) == [False]
    assert of_aof(on, there) == [True]
    before = on.model_copy(update={"started_at": at - timedelta(hours=1), "scheduled_for": None})
    assert of_aof(before, off) == [], "what the newest one says counts"


def test_append_only_files_that_were_switched_off_are_not_called_old_by_word_of_a_newer_snapshot() -> None:
    due = due_of(stack(Kind.REDIS, stack=None))
    old, now = NOW - timedelta(days=9), NOW - timedelta(minutes=50)
    last, off = entry("redis", "aof", old), entry("redis", "rdb", now)

    def fresh(*entries: Entry) -> bool | None:
        (found,) = (c for c in look(due, entries, as_of=NOW) if (c.kind, c.what) == ("aof", "fresh"))
        return found.passed

    assert fresh(last, off) is True
    assert fresh(last, off.model_copy(update={"source": Source(also=("aof",))})) is False
    assert fresh(last, off.model_copy(update={"reason": REBUILT})) is False, "it knows nothing of the store"
    assert fresh(last, entry("redis", "rdb", old - timedelta(hours=1))) is False, "it is of before"
    assert fresh(last) is False
