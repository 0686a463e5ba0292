"""``backup`` in the stack file: how long, how many, and when."""

from datetime import timedelta
from pathlib import Path

import pytest

from domain.backup_policy import BackupPolicy, Timing
from domain.calendars import parse_calendar
from domain.errors import Refused
from domain.jobs import WORK, Job, lock_of, schedule_id
from domain.stack import Kind
from domain.stack_file import parse_stack

SOUND = """\
stack: shop
project: shop
services:
  postgres:
    kind: postgres
backup:
  shelf: shelf
  keep_redis: 7
  schedules:
    redis: {at: "5 * * * *", jitter: 30s}
"""


def policy(text: str) -> BackupPolicy:
    return parse_stack(text, "shop.yaml")[0].backup


def refusal(old: str, new: str) -> Refused:
    with pytest.raises(Refused) as error:
        parse_stack(SOUND.replace(old, new), "shop.yaml")
    assert error.value.code == "stack-file"
    return error.value


def test_what_is_left_out_of_the_backups_is_a_service_of_the_stack() -> None:
    assert policy(SOUND.replace("keep_redis: 7", "leave_out: [postgres]")).leave_out == ("postgres",)
    assert "no service cache" in refusal("keep_redis: 7", "leave_out: [cache]").what
    assert "leave_out" in refusal("keep_redis: 7", "leave_out: ['../x']").what


def test_what_a_host_provides_is_named_by_whole_paths_and_is_never_everything() -> None:
    said = policy(SOUND.replace("keep_redis: 7", "provided_by_host: [/etc/letsencrypt/, /opt/../srv/geo]"))
    assert said.provided_by_host == ("/etc/letsencrypt", "/srv/geo")
    for wrong in ("/", "/.", "/etc/..", "etc/x", "//", '"/a\\nb"'):
        assert "provided_by_host" in refusal("keep_redis: 7", f"provided_by_host: [{wrong}]").what


def test_a_file_that_says_nothing_keeps_what_the_runbook_promises() -> None:
    bare = policy("stack: shop\nproject: shop\nservices: {postgres: {kind: postgres}}\n")
    days = {
        "keep_wal": 7,
        "keep_base": 7,
        "keep_daily": 30,
        "keep_weekly": 84,
        "keep_hasura": 30,
        "keep_stack": 30,
        "keep_offsite": 365,
    }
    assert {name: getattr(bare, name) for name in days} == {n: timedelta(days=d) for n, d in days.items()}
    assert (bare.keep_redis, bare.keep_versions, bare.keep_search) == (7, 30, 5)
    timings = {job: bare.timing(job) for job in Job}
    assert all(timing is not None and timing.time_zone == "UTC" for timing in timings.values())


def test_the_times_that_the_runbook_names_are_the_usual_ones() -> None:
    usual = {job: WORK[job].usual for job in Job}
    assert usual[Job.POSTGRES_BASE] == "0 1 * * *"
    assert usual[Job.POSTGRES_DAILY] == "0 2 * * *"
    assert usual[Job.POSTGRES_WEEKLY] == "0 3 * * 0"
    hourly = {job for job, text in usual.items() if len(parse_calendar(text).hour) == 24}
    assert hourly == {Job.POSTGRES_WAL, Job.REDIS, Job.MINIO}
    daily = [parse_calendar(text) for job, text in usual.items() if job not in hourly]
    assert len({(one.hour, one.minute) for one in daily}) == len(daily), "none stands in the way of another"


def test_a_file_that_says_some_of_it_keeps_the_rest_as_usual() -> None:
    said = policy(SOUND)
    redis, base = said.timing(Job.REDIS), said.timing(Job.POSTGRES_BASE)
    assert redis is not None
    assert base is not None
    assert (redis.at, redis.jitter, redis.comment) == (
        "5 * * * *",
        timedelta(seconds=30),
        WORK[Job.REDIS].says,
    )
    assert (base.at, base.catch_up) == (WORK[Job.POSTGRES_BASE].usual, timedelta(minutes=10))


def test_segments_are_closed_by_the_clock_only_where_a_time_is_given() -> None:
    assert policy(SOUND).wal_switch_every is None
    assert policy(SOUND.replace("keep_redis: 7", "wal_switch_every: 1h")).wal_switch_every == timedelta(
        hours=1
    )
    assert "backup.wal_switch_every" in refusal("keep_redis: 7", "wal_switch_every: 0s").what


def test_a_job_that_is_struck_out_does_not_run() -> None:
    assert policy(SOUND.replace('{at: "5 * * * *", jitter: 30s}', "null")).timing(Job.REDIS) is None


@pytest.mark.parametrize(
    ("old", "new", "what", "line", "hint"),
    [
        ("keep_redis", "keep_reddis", "unknown key backup.keep_reddis", 8, "did you mean keep_redis?"),
        ("keep_redis: 7", "keep_redis: 0", "backup.keep_redis", 8, ""),
        ("keep_redis: 7", "keep_redis: true", "backup.keep_redis", 8, ""),
        ("keep_redis: 7", "keep_redis: 7d", "backup.keep_redis", 8, ""),
        ("keep_redis: 7", "keep_base: 0s", "backup.keep_base", 8, ""),
        ("keep_redis: 7", "keep_base: 999999999d", "backup.keep_base", 8, ""),
        ("keep_redis: 7", "keep_base: a week", "backup.keep_base", 8, "write a duration as"),
        ("keep_redis: 7", "keep_offsite: 364d", "backup.keep_offsite", 8, ""),
        ("redis: {", "reddis: {", "backup.schedules.reddis", 10, ""),
        ("5 * * * *", "5 * * *", "backup.schedules.redis.at", 10, ""),
        ("5 * * * *", "0 2 30 feb *", "backup.schedules.redis.at", 10, ""),
        ("jitter: 30s", "jitter: 2h", "backup.schedules.redis.jitter", 10, ""),
        ("jitter: 30s", "catch_up: 1s", "backup.schedules.redis.catch_up", 10, ""),
        ("jitter: 30s", "jiter: 30s", "unknown key backup.schedules.redis.jiter", 10, "jitter"),
        ("jitter: 30s", "time_zone: '../etc'", "backup.schedules.redis.time_zone", 10, ""),
        ("jitter: 30s", 'comment: "a\\nb"', "backup.schedules.redis.comment", 10, ""),
        ("jitter: 30s", "paused_because: ''", "backup.schedules.redis.paused_because", 10, ""),
    ],
)
def test_a_mistake_is_refused_with_its_key_and_line(
    old: str, new: str, what: str, line: int, hint: str
) -> None:
    error = refusal(old, new)
    assert what in error.what
    assert error.where == f"shop.yaml, line {line}"
    assert hint in error.hint


def test_the_file_of_the_lab_states_every_key_and_every_job() -> None:
    path = Path(__file__).parents[2] / "infra" / "stack.yaml"
    said = parse_stack(path.read_text(), str(path))[0].backup
    assert said.model_fields_set == set(BackupPolicy.model_fields)
    assert set(said.schedules) == set(Job)
    # What it writes out is what a file without it means.
    for job in Job:
        stated, usual = said.timing(job), BackupPolicy().timing(job)
        assert stated is not None
        assert usual is not None
        assert parse_calendar(stated.at or "") == parse_calendar(usual.at or "")
        assert stated.model_copy(update={"at": usual.at}) == usual
    assert said.model_copy(update={"schedules": {}}) == BackupPolicy()


def test_every_job_has_a_lock_and_an_id_of_its_own_and_needs_a_kind_that_there_is() -> None:
    assert set(WORK) == set(Job)
    assert len({lock_of("shop", job) for job in Job}) == len(Job)
    assert len({schedule_id("shop", job) for job in Job}) == len(Job)
    assert lock_of("shop", Job.POSTGRES_BASE) == "backup/shop/postgres/base"
    assert {work.needs for work in WORK.values()} - {""} <= set(Kind)
    for job in Job:
        assert Timing(at=WORK[job].usual, comment=WORK[job].says) == BackupPolicy().timing(job)
