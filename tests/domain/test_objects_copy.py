"""The listing of a copy of objects: states at an instant, what is gone, what differs, and the policy."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from domain.errors import Refused
from domain.holdings import compare_holdings
from domain.objects_copy import ObjectVersion, compare_versions, holdings, in_order, state_at, with_gone
from domain.objects_policy import SecondStore, says_the_same, versions_rule
from domain.objects_restore import ObjectsRestoreOrder
from domain.stack_file import parse_stack

START = datetime(2026, 11, 22, tzinfo=UTC)
MONTH = timedelta(days=30)
STACK = """\
stack: shop
project: shop
services:
  postgres: {kind: postgres}
backup:
  objects: {exclude: [scratch], keep_gone: 10d}
  second_store:
    endpoint: https://second.example
    bucket: copies
    access_key: env:A
    secret_key: env:B
"""


def version(key: str, minute: int, *, current: bool = False, **other: object) -> ObjectVersion:
    values = {
        "bucket": "uploads",
        "key": key,
        "version": f"v{minute}",
        "modified": START + timedelta(minutes=minute),
        "current": current,
        "bytes": 5,
        "etag": f"e{minute}",
        "sha256": f"{minute:064x}",
    }
    return ObjectVersion.model_validate(values | other)


def marker(key: str, minute: int, *, current: bool = True) -> ObjectVersion:
    return version(key, minute, current=current, deleted=True, bytes=0, etag="", sha256="")


LISTED = [
    version("a", 1),
    version("a", 5, current=True),
    version("b", 2),
    marker("b", 6),
    version("c", 3, current=True),
]


def names(versions: list[ObjectVersion]) -> list[str]:
    return [f"{one.key}{one.version}" for one in versions]


@pytest.mark.parametrize(
    ("minute", "there"),
    [(0, []), (1, ["av1"]), (3, ["av1", "bv2", "cv3"]), (5, ["av5", "bv2", "cv3"]), (6, ["av5", "cv3"])],
)
def test_the_state_at_an_instant_is_what_users_saw_then(minute: int, there: list[str]) -> None:
    assert names(state_at(LISTED, START + timedelta(minutes=minute))) == there


def test_without_an_instant_it_is_what_users_see() -> None:
    assert names(state_at(reversed(LISTED), None)) == ["av5", "cv3"]
    assert names(in_order(reversed(LISTED))) == ["av5", "av1", "bv6", "bv2", "cv3"]


def test_a_version_that_the_store_removed_stays_listed_for_its_time_and_is_no_state_of_now() -> None:
    now = START + timedelta(hours=1)
    listed = with_gone(LISTED[:-1], LISTED, now, MONTH)
    (gone,) = (one for one in listed if one.gone_since is not None)
    assert (gone.key, gone.current, gone.gone_since) == ("c", False, now)
    assert names(state_at(listed, None)) == ["av5"]
    assert names(state_at(listed, START + timedelta(minutes=3))) == ["av1", "bv2", "cv3"]
    assert names(state_at(listed, now)) == ["av5"]
    later = with_gone(LISTED[:-1], listed, now + MONTH - timedelta(seconds=1), MONTH)
    assert gone in later
    assert gone not in with_gone(LISTED[:-1], later, now + MONTH, MONTH)


def test_what_came_back_is_not_gone() -> None:
    gone = LISTED[-1].model_copy(update={"gone_since": START, "current": False})
    assert [one.gone_since for one in with_gone(LISTED, [gone], START, MONTH)] == [None] * 5


def test_an_overwritten_object_without_versions_is_another_one_under_the_same_id() -> None:
    before = version("a", 1, current=True, version="null")
    after = before.model_copy(update={"etag": "other"})
    assert before.same_as != after.same_as
    assert [one.gone_since for one in with_gone([after], [before], START, MONTH)].count(None) == 1


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (LISTED[1:], "with other content: uploads/a"),
        (LISTED[:-1], "missing: uploads/c"),
        ([*LISTED, version("d", 9, current=True)], "surplus: uploads/d"),
        ([*LISTED[:-1], version("c", 3, current=True, sha256="f" * 64)], "with other content: uploads/c"),
        ([*LISTED[:-1], version("c", 3, current=True, metadata={"Content-Type": "x"})], "other content"),
        ([LISTED[0], LISTED[1], version("b", 2, current=True), LISTED[4]], "with other content: uploads/b"),
    ],
)
def test_every_difference_between_two_listings_is_named(seen: list[ObjectVersion], said: str) -> None:
    proof = compare_versions(LISTED, seen)
    assert proof.passed is False
    assert said in proof.evidence
    held = compare_holdings(holdings(["uploads"], LISTED), holdings(["uploads"], seen))
    assert [one.passed for one in held] == [False]


def test_the_same_objects_under_other_ids_are_the_same() -> None:
    copied = [one.model_copy(update={"version": "x", "etag": "y"}) for one in reversed(LISTED)]
    assert compare_versions(LISTED, copied).passed is True
    assert holdings(["uploads"], LISTED) == holdings(["uploads"], copied)


def test_nothing_listed_is_not_proven() -> None:
    assert compare_versions([], []).passed is None
    assert compare_versions([marker("a", 1)], []).passed is None
    assert [one.count for one in holdings(["empty"], [])] == [0]


def test_the_stack_file_names_second_store_and_exceptions() -> None:
    policy = parse_stack(STACK, "shop.yaml")[0].backup
    assert policy.objects.exclude == ("scratch",)
    assert policy.second_store is not None
    assert policy.second_store.place("shop") == "https://second.example copies/shop/"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://second.example", "http://second.example", "in clear"),
        ("env:A", "the key itself", "backup.second_store.access_key"),
        ("bucket: copies", "bucket: ../copies", "backup.second_store.bucket"),
        ("bucket: copies", "bucket: copies\n    buckt: x", "buckt"),
        ("keep_gone: 10d", "keep_gone: 1h", "keep_gone"),
    ],
)
def test_a_second_store_that_cannot_be_meant_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(Refused, match="stack-file") as refused:
        parse_stack(STACK.replace(old, new), "shop.yaml")
    assert said in str(refused.value)
    assert "the key itself" not in str(refused.value)


def test_a_network_of_ones_own_may_do_without_tls_when_that_is_said() -> None:
    text = STACK.replace("https://second.example", "http://second:9000\n    allow_http: true")
    store = parse_stack(text, "shop.yaml")[0].backup.second_store
    assert isinstance(store, SecondStore)
    assert (store.endpoint, store.takes_sealed_alone) == ("http://second:9000", False)


def test_a_rule_of_ours_is_known_however_the_store_spells_it() -> None:
    wanted = versions_rule(30)
    spelled = {**wanted, "Filter": {}, "Priority": 1}
    assert says_the_same(spelled, wanted)
    assert says_the_same({**wanted, "Filter": {"Prefix": ""}}, wanted)
    for change in (
        {"Status": "Disabled"},
        {"Filter": {"Prefix": "a/"}},
        {"Expiration": {"Days": 3}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 3}},
    ):
        assert not says_the_same({**spelled, **change}, wanted)
    assert versions_rule(5000)["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"] == 100


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": "a", "prefix": "b", "entry_id": "x"}, "prefix too"),
        ({"key": "a"}, "the instant has to be said"),
    ],
)
def test_a_restore_that_could_mean_two_things_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ObjectsRestoreOrder.model_validate({"target": TARGET, "bucket": "uploads", **given})


TARGET = {
    "stack": "shop",
    "project": "shop",
    "shelf": "/s",
    "services": [],
    "postgres": {
        "service": "p",
        "container_id": "c",
        "container_name": "p",
        "image_id": "i",
        "volume": "v",
        "mount_path": "/d",
        "pgdata": "/d",
        "uid": 1,
        "gid": 1,
    },
}


def test_a_whole_bucket_a_prefix_and_one_object_are_told_apart() -> None:
    given = {"target": TARGET, "bucket": "uploads", "entry_id": "x"}
    assert ObjectsRestoreOrder.model_validate(given).covers("anything")
    prefix = ObjectsRestoreOrder.model_validate({**given, "prefix": "a/"})
    assert (prefix.covers("a/b"), prefix.covers("ab")) == (True, False)
    one = ObjectsRestoreOrder.model_validate({**given, "key": "a"})
    assert (one.covers("a"), one.covers("ab")) == (True, False)
