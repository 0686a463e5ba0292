"""The bucket against moto's server: versions, lifecycle, lock, and rules of others."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import Refused
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.place import RDB, Place


def rules(place: Place) -> list[dict[str, Any]]:
    found = place.client.get_bucket_lifecycle_configuration(Bucket=place.bucket)
    return [dict(one) for one in found["Rules"]]


def ours(place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rule of copies and that of the contents of objects."""
    found = {one["ID"]: one for one in rules(place)}
    return found["dr-offsite-copies-lab"], found["dr-objects-copies-lab.objects"]


def said(place: Place) -> dict[str, bool | None]:
    return {proof.name: proof.passed for proof in place.ready().proofs}


def test_a_new_bucket_keeps_versions_moves_copies_to_the_archive_and_expires_them(place: Place) -> None:
    ready = place.ready()
    assert ready.passed
    assert place.client.get_bucket_versioning(Bucket=place.bucket)["Status"] == "Enabled"
    rule, contents = ours(place)
    assert len(rules(place)) == 2
    assert rule["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]
    assert rule["Expiration"]["Days"] == 365
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 365
    assert rule["Filter"] == {"Prefix": "copies/lab/"}
    assert rule["Status"] == "Enabled"
    # A copy of today may list a content that came two years ago.
    assert "Expiration" not in contents
    assert contents["Filter"] == {"Prefix": "copies/lab.objects/"}
    assert contents["Transitions"] == rule["Transitions"]


def test_where_objects_stay_here_there_is_one_rule(make: Make) -> None:
    place = make(objects=False)
    assert place.ready().passed
    assert [one["ID"] for one in rules(place)] == ["dr-offsite-copies-lab"]


def test_a_bucket_that_is_ready_is_left_alone(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint)
    place.ready()
    writes = between.count("PUT", "")
    assert place.ready().passed
    assert between.count("PUT", "") == writes


def test_rules_of_others_stay_and_a_weakened_one_of_ours_is_corrected(place: Place) -> None:
    theirs = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    place.ready()
    mine, _ = ours(place)
    weak = {**mine, "Expiration": {"Days": 400}, "Transitions": [{"Days": 300, "StorageClass": "GLACIER"}]}
    place.client.put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs, weak]}
    )
    place.ready()
    found = {one["ID"]: one for one in rules(place)}
    assert found["logs"]["Expiration"]["Days"] == 3
    assert found[mine["ID"]]["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]
    assert found[mine["ID"]]["Expiration"]["Days"] == 365
    assert len(found) == 3


def test_a_rule_of_others_that_removes_copies_early_is_refused_and_not_touched(place: Place) -> None:
    early = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    place.client.put_bucket_lifecycle_configuration(
        Bucket=place.bucket, LifecycleConfiguration={"Rules": [early]}
    )
    with pytest.raises(Refused, match="offsite-expires-early") as refused:
        place.ready()
    assert "tidy" in refused.value.what
    assert [one["ID"] for one in rules(place)] == ["tidy"]


def test_what_the_store_does_not_offer_is_said(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint)
    between.troubles.append(
        Trouble("error", "PUT", "lifecycle", times=1000, status=501, code="NotImplemented")
    )
    ready = place.ready()
    assert ready.passed
    assert "lifecycle" in ready.sentence
    assert {proof.name: proof.passed for proof in ready.proofs}["lifecycle"] is None


def test_a_store_without_an_archive_gets_the_rest_of_the_rule(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint)
    between.troubles.append(
        Trouble("error", "PUT", "lifecycle", times=1, status=400, code="InvalidStorageClass")
    )
    ready = place.ready()
    assert "a move into the archive" in ready.sentence
    rule, contents = ours(place)
    assert "Transitions" not in rule
    assert "Transitions" not in contents
    assert rule["Expiration"]["Days"] == 365


@pytest.mark.parametrize(
    ("what", "pattern", "code"),
    [
        ("versioning", "versioning", "offsite-no-versioning"),
        ("lifecycle", "lifecycle", "offsite-no-lifecycle"),
    ],
)
def test_what_the_policy_demands_is_refused_when_it_is_not_offered(
    make: Make, weather: tuple[str, Weather], what: str, pattern: str, code: str
) -> None:
    endpoint, between = weather
    place = make(endpoint, demand=(what,))
    between.troubles.append(Trouble("error", "PUT", pattern, times=1000, status=501, code="NotImplemented"))
    with pytest.raises(Refused) as refused:
        place.ready()
    assert refused.value.code == code


def test_copies_are_locked_where_the_policy_asks_for_it(make: Make) -> None:
    place = make(lock=True, object_lock={"mode": "compliance", "days": 400})
    assert said(place)["object lock"] is True
    place.copy()
    head = place.client.head_object(Bucket=place.bucket, Key=place.key_of(RDB, "dump.rdb"))
    assert head["ObjectLockMode"] == "COMPLIANCE"
    left = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=399) < left <= timedelta(days=400)


def test_a_bucket_that_cannot_lock_is_refused_where_the_policy_asks_for_it(make: Make) -> None:
    place = make(object_lock={"mode": "governance", "days": 30})
    with pytest.raises(Refused, match="offsite-no-lock"):
        place.ready()


def test_the_doctor_is_told_whether_copies_could_leave(place: Place) -> None:
    assert place.reach().passed is True
    for path in place.keys.directory.glob("*.key"):
        path.unlink()
    reach = place.reach()
    assert reach.passed is False
    assert [proof.passed for proof in reach.proofs] == [True, False]
