"""A far store that is ill, slow or lying, and copies that are killed: what is true afterwards."""

import re
import shutil

import pytest
from botocore.exceptions import SSLError

from activities.bucket_errors import speaking
from domain.errors import BackupUnusable, DrError, Refused, Unavailable, VerificationFailed
from tests.faults.record import Seen
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather, misbehaving
from tests.hands.offsite.place import BASE, DUMP, RDB, Place, kill_while_held, tree

PART = rf"{DUMP}/files/nchat.dump.*partNumber="


def numbers(weather: Weather) -> list[int]:
    return [
        int(found[1])
        for method, path in weather.requests
        if method == "PUT" and re.search(PART, path) and (found := re.search(r"partNumber=(\d+)", path))
    ]


@pytest.mark.fault("C12")
def test_an_upload_that_is_killed_half_way_goes_on_at_the_first_part_missing(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-C12: a truncated upload: the copying process is killed while the third part is on its way."""
    endpoint, between = weather
    place = make(endpoint)
    between.troubles.append(Trouble("hold", "PUT", f"{PART}3"))
    kill_while_held(place, endpoint, between, "copy")
    seen(f"killed by signal 9 while it held part 3 of {DUMP}")
    begun = place.client.list_multipart_uploads(Bucket=place.bucket)["Uploads"]
    assert len(begun) == 1
    assert numbers(between) == [1, 2, 3]
    assert not [key for key in place.far() if f"{DUMP}/manifest" in key]

    between.requests.clear()
    place.copy()
    assert numbers(between) == [3]
    assert not place.client.list_multipart_uploads(Bucket=place.bucket).get("Uploads")
    assert between.count("POST", rf"{DUMP}.*\?uploads") == 0
    before = tree(place.shelf / "postgres" / "daily" / DUMP)
    (place.shelf / "postgres" / "daily" / DUMP).rename(place.directory / "away")
    place.fetch(DUMP)
    assert tree(place.shelf / "postgres" / "daily" / DUMP) == before


@pytest.mark.fault("A3")
def test_a_fetch_that_is_killed_half_way_leaves_no_half_a_backup(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-A3: killed in the middle of a long effect: the fetching process is killed between two files."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    place.copy()
    before = tree(place.shelf)
    shutil.rmtree(place.shelf)
    between.troubles.append(Trouble("hold", "GET", f"{BASE}/files/data/base/5/16384"))
    kill_while_held(place, endpoint, between, "fetch")
    seen("killed by signal 9 while it held base/5/16384")
    assert not (place.shelf / "postgres" / "base" / BASE).exists()
    place.fetch()
    after = tree(place.shelf)
    assert after.items() <= before.items()
    assert f"postgres/base/{BASE}/dr.json" in after
    assert not [path for path in after if path.endswith((".new", ".partial", ".fetching"))]


@pytest.mark.fault("A4")
def test_a_copy_that_was_overtaken_sends_nothing_more(
    make: Make, weather: tuple[str, Weather], seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-A4: a later attempt was let in while this one was at work: its threads write nothing more."""
    endpoint, between = weather
    place = make(endpoint, parallel=2)
    as_it_was = between.trouble_for

    def overtake(method: str, path: str) -> Trouble | None:
        if method == "PUT" and between.count("PUT", "") == 3:
            place.tokens().admit(place.copy_order(attempt=2), "lab")
        return as_it_was(method, path)

    monkeypatch.setattr(between, "trouble_for", overtake)
    with pytest.raises(Refused, match="overtaken"):
        place.copy(attempt=1)
    sent = between.count("PUT", "")
    seen(f"{sent} requests left before and while the later attempt was let in")
    assert 3 <= sent <= 4
    monkeypatch.undo()
    assert len(place.copy(attempt=2).entries) == 3


@pytest.mark.fault("B9")
@pytest.mark.parametrize("deed", ["cut", "error"])
def test_passing_trouble_is_survived_within_one_copy(
    make: Make, weather: tuple[str, Weather], seen: Seen, deed: str
) -> None:
    """F-B9: the network is cut, or the store answers 503, for a few requests."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    trouble = Trouble(deed, "PUT", "", times=2, after=4)  # type: ignore[arg-type]  # one of the deeds
    between.troubles.append(trouble)
    assert len(place.copy().entries) == 3
    assert trouble.met == 2
    seen(f"{trouble.met} requests met: {deed}")


@pytest.mark.fault("C12")
@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("cut", "PUT", DUMP, times=1000),
        Trouble("error", "PUT", DUMP, times=1000, status=500, code="InternalError"),
        Trouble("error", "PUT", DUMP, times=1000, status=503, code="SlowDown"),
        Trouble("error", "PUT", DUMP, times=1000, status=429, code="TooManyRequests"),
        Trouble("error", "POST", DUMP, times=1000, status=409, code="ConditionalRequestConflict"),
    ],
    ids=["cut", "500", "503", "429", "409"],
)
def test_trouble_that_stays_is_tried_again_later_and_what_came_over_stays(
    make: Make, weather: tuple[str, Weather], seen: Seen, trouble: Trouble
) -> None:
    """F-C12: off-site store down or throttled."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    between.troubles.append(trouble)
    with pytest.raises(Unavailable, match="offsite-unavailable"):
        place.copy()
    assert trouble.met >= 1
    seen(f"{trouble.met} requests met: {trouble.deed} {trouble.status}")
    assert not [key for key in place.far() if f"{DUMP}/manifest" in key]
    between.troubles.clear()
    assert DUMP in place.copy().entries


@pytest.mark.fault("C12")
@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [
        (403, "AccessDenied", "offsite-denied"),
        (403, "InvalidAccessKeyId", "offsite-denied"),
        (403, "SignatureDoesNotMatch", "offsite-denied"),
        (400, "ExpiredToken", "offsite-denied"),
        (403, "RequestTimeTooSkewed", "offsite-clock"),
        (400, "InvalidStorageClass", "offsite-not-offered"),
        (400, "KMS.NotFoundException", "offsite-not-offered"),
        (400, "KeyTooLongError", "offsite-refused"),
    ],
)
def test_what_trying_again_cannot_help_is_refused_by_name(
    make: Make, weather: tuple[str, Weather], seen: Seen, status: int, code: str, ours: str
) -> None:
    """F-C12: expired credentials, skew 403, parameters that the store does not know."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    trouble = Trouble("error", "PUT", "", times=1000, status=status, code=code)
    between.troubles.append(trouble)
    with pytest.raises(Refused) as refused:
        place.copy()
    assert refused.value.code == ours
    assert "password-of-a-test" not in str(refused.value)
    seen(f"the store answered {status} {code} {trouble.met} times")
    assert tree(place.shelf / "redis" / "rdb" / RDB)


def test_a_look_that_is_denied_has_no_words_and_is_refused_all_the_same(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint)
    between.troubles.append(Trouble("error", "HEAD", "", times=1000, status=403, code=""))
    with pytest.raises(Refused, match="offsite-denied"):
        place.copy()
    reach = place.reach()
    assert reach.passed is False
    assert "offsite-denied" in reach.proofs[0].evidence


def test_a_bucket_that_is_not_there_is_named(place: Place) -> None:
    place.bucket = "never-made"
    with pytest.raises(Refused, match="offsite-bucket-missing"):
        place.ready()
    with pytest.raises(Refused, match="offsite-bucket-missing"):
        place.copy()


def test_a_store_that_nobody_runs_is_unavailable(place: Place) -> None:
    place.endpoint = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="offsite-unavailable"):
        place.copy()


@pytest.mark.fault("C12")
def test_a_far_side_that_lies_about_a_size_is_not_believed(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-C12: truncated upload: the object is shorter than what was sent."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    trouble = Trouble("lie about size", "HEAD", f"{RDB}/files/dump.rdb", times=1)
    between.troubles.append(trouble)
    with pytest.raises(VerificationFailed, match="offsite-incomplete") as failed:
        place.copy()
    assert trouble.met == 1
    seen("HEAD stated one byte less than was sent")
    assert "bytes instead of" in failed.value.what
    assert not [key for key in place.far() if f"{RDB}/manifest" in key]
    assert [key for key in place.far() if f"{DUMP}/manifest" in key]


@pytest.mark.fault("C12")
def test_a_far_side_that_holds_other_bytes_is_not_believed(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-C12: wrong bytes: as many as were sent, and no checksum to tell."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    between.without_checksums = True
    trouble = Trouble("other bytes", "GET", f"{RDB}/files/dump.rdb", times=100)
    between.troubles.append(trouble)
    with pytest.raises(VerificationFailed, match="as many bytes, but others"):
        place.copy()
    assert trouble.met >= 1
    seen("what was read back was not what was sent")


@pytest.mark.fault("C12")
@pytest.mark.parametrize("deed", ["cut answer", "other bytes"])
def test_what_arrives_broken_does_not_become_a_backup(
    make: Make, weather: tuple[str, Weather], seen: Seen, deed: str
) -> None:
    """F-C12: wrong or truncated bytes on the way back."""
    endpoint, between = weather
    place = make(endpoint)
    place.copy()
    before = tree(place.shelf / "redis" / "rdb" / RDB)
    (place.shelf / "redis" / "rdb" / RDB).rename(place.directory / "away")
    trouble = Trouble(deed, "GET", f"{RDB}/files/dump.rdb", times=1000)  # type: ignore[arg-type]  # a deed
    between.troubles.append(trouble)
    with pytest.raises(DrError) as failed:
        place.fetch(RDB)
    assert isinstance(failed.value, (Unavailable, BackupUnusable, Refused))
    assert trouble.met >= 1
    seen(f"{deed} met {trouble.met} requests: {failed.value.code}")
    assert not (place.shelf / "redis" / "rdb" / RDB).exists()
    between.troubles.clear()
    place.fetch(RDB)
    del before["left.tmp"]  # it never left
    assert tree(place.shelf / "redis" / "rdb" / RDB) == before


@pytest.mark.fault("C12")
def test_while_the_far_side_is_away_the_shelf_is_as_it_was(place: Place, moto_port: int, seen: Seen) -> None:
    """F-C12: off-site store down: the local copy stays usable."""
    before = tree(place.shelf)
    with misbehaving(moto_port) as (endpoint, between):
        between.troubles.append(Trouble("cut", "HEAD", "", times=10_000))
        place.endpoint = endpoint
        with pytest.raises(Unavailable):
            place.copy()
        seen(f"{between.troubles[0].met} requests were cut")
    assert tree(place.shelf) == before
    assert (place.shelf / "postgres" / "base" / BASE / "dr.json").is_file()


def test_where_tls_fails_the_hint_speaks_of_the_certificate(make: Make, moto_port: int) -> None:
    place = make(f"https://127.0.0.1:{moto_port}")
    with pytest.raises(Unavailable, match="SSLError") as away:
        place.ready()
    assert "certificate" in away.value.hint


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("certificate verify failed: certificate has expired (_ssl.c:1006)", "certificate has expired"),
        (
            "certificate verify failed: IP address mismatch, certificate is not valid for '1.2.3.4'. (_s)",
            "IP address mismatch, certificate is not valid for '1.2.3.4'",
        ),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(said: str, told: str) -> None:
    with pytest.raises(Unavailable) as away, speaking("copies"):
        raise SSLError(endpoint_url="https://far", error=f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}")
    assert away.value.what == f"the far store does not answer: SSLError, {told}"
