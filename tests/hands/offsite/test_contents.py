"""What copies of objects list goes off-site too: each content once, unnamed, and all of it comes back."""

import re
import secrets
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities import entries
from domain.errors import BackupUnusable, Refused, Unavailable, VerificationFailed
from domain.offsite_look import Unlisted
from domain.sealing import MAGIC, sealed_bytes
from tests.faults.record import Seen
from tests.hands.offsite.conftest import Make
from tests.hands.offsite.hostile import Trouble, Weather
from tests.hands.offsite.objects import COPY, NEXT, OBJECTS, blob, far_contents, sha256, shelve
from tests.hands.offsite.place import CANARY, MEBI, NOW, Place, some_bytes, tree

CONTENTS = len(set(OBJECTS.values()))
MORE = {**OBJECTS, "more": b"only in the second copy"}
IN_CONTENTS = r"lab\.objects/"


@pytest.fixture
def make(tmp_path: Path, moto_port: int) -> Make:
    """Return what makes a host whose shelf holds nothing but what a test puts there."""

    def made(endpoint: str = "", **changes: Any) -> Place:
        bucket, straight = f"copies-{secrets.token_hex(6)}", f"http://127.0.0.1:{moto_port}"
        Place(tmp_path, straight, bucket).client.create_bucket(Bucket=bucket)
        place = Place(tmp_path, endpoint or straight, bucket, changes)
        place.keys.new(NOW)
        place.shelf.mkdir()
        return place

    return made


def body(place: Place, key: str) -> bytes:
    return bytes(place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read())


def sent(between: Weather) -> list[str]:
    """Return the contents that were written, a name once for each request."""
    asked = [path for method, path in between.requests if method == "PUT" and re.search(IN_CONTENTS, path)]
    return [path.partition("?")[0] for path in asked]


def lose(place: Place) -> dict[str, bytes | None]:
    """Remove the whole shelf; return what it held of the object store."""
    before = tree(place.shelf / "minio")
    shutil.rmtree(place.shelf)
    return before


def test_contents_go_along_each_once_and_a_second_copy_sends_what_is_new_alone(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint)
    shelve(place)
    copied = place.copy()
    assert (copied.contents, copied.contents_there, copied.left_here) == (CONTENTS, 0, "")
    assert f"{CONTENTS} contents of objects went along" in copied.sentence
    assert len(far_contents(place)) == CONTENTS
    assert len(set(sent(between))) == CONTENTS
    between.requests.clear()
    shelve(place, NEXT, MORE)
    again = place.copy()
    assert (again.contents, again.contents_there) == (1, CONTENTS)
    assert len(sent(between)) == 1
    # What the first copy vouches for is not even looked at one by one.
    assert between.count("HEAD", IN_CONTENTS) <= 1
    assert place.copy().contents == 0


def test_contents_that_no_copy_lists_any_more_are_reported_and_stay(make: Make) -> None:
    place = make()
    shelve(place)
    shelve(place, NEXT, MORE)
    place.copy()
    assert place.list().unlisted is None, "it is looked for where somebody asks"
    assert place.list(unlisted=True).unlisted == Unlisted()
    # What expires over there is the copy, never what it lists.
    for key in place.far():
        if f"/{NEXT}/" in key:
            place.client.delete_object(Bucket=place.bucket, Key=key)
    before = far_contents(place)
    said = place.list(unlisted=True)
    assert said.unlisted is not None
    assert (said.unlisted.count, said.unlisted.unread) == (1, 0)
    assert said.unlisted.bytes == sealed_bytes(len(MORE["more"]))
    assert "1 contents of objects of" in said.sentence
    assert "listed by no whole copy; nothing of ours removes them" in said.sentence
    assert far_contents(place) == before
    # A copy that cannot be asked may list them all: that is said, and nothing is made of it.
    manifest = next(key for key in place.far() if f"/{COPY}/manifest" in key)
    place.client.put_object(Bucket=place.bucket, Key=manifest, Body=b"no manifest")
    said = place.list(unlisted=True)
    assert said.unlisted is not None
    assert (said.unlisted.count, said.unlisted.unread) == (len(before), 1)
    assert "1 could not" in said.sentence


def test_neither_bytes_nor_names_of_contents_leave_in_clear(make: Make, weather: tuple[str, Weather]) -> None:
    endpoint, between = weather
    place = make(endpoint)
    shelve(place)
    place.copy()
    far = far_contents(place)
    assert all(body(place, key).startswith(MAGIC) for key in far)
    left = b"".join(between.bodies)
    said = " ".join(path for _, path in between.requests)
    for key, content in OBJECTS.items():
        assert sha256(content) not in said
        assert sha256(content) not in " ".join(far)
        assert key not in said
        assert sha256(content).encode() not in left
    assert CANARY not in left
    assert b"first.txt" not in left


def test_the_whole_shelf_lost_the_copy_comes_back_with_every_content(place: Place) -> None:
    made = shelve(place)
    place.copy()
    before = lose(place)
    fetched = place.fetch(COPY)
    assert (fetched.store, fetched.contents) == ("minio", CONTENTS)
    assert f"{CONTENTS} contents" in fetched.sentence
    after = tree(place.shelf / "minio")
    assert {path: held for path, held in after.items() if not path.startswith(".incoming")} == before
    assert entries.find_entry(place.shelf, COPY) == made
    assert place.fetch(COPY).contents == 0


def test_a_content_that_is_missing_or_damaged_here_comes_back_to_an_entry_that_is_not(place: Place) -> None:
    shelve(place)
    place.copy()
    blob(place, CANARY).unlink()
    blob(place, OBJECTS["large"]).write_bytes(b"x" * len(OBJECTS["large"]))
    assert place.fetch(COPY).contents == 2
    for content in OBJECTS.values():
        assert blob(place, content).read_bytes() == content


@pytest.mark.fault("C13")
def test_a_content_that_rotted_on_the_shelf_does_not_become_the_only_copy(place: Place, seen: Seen) -> None:
    """F-C13: one bit of a content is flipped on the shelf before it was ever copied."""
    shelve(place)
    path = blob(place, OBJECTS["naïve ö/ü?.bin"])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    seen("a content has other bytes than its name says")
    with pytest.raises(VerificationFailed, match="offsite-incomplete") as failed:
        place.copy()
    assert "1 of its contents cannot go" in failed.value.what
    assert len(far_contents(place)) == CONTENTS - 1
    assert not [key for key in place.far() if f"{COPY}/manifest" in key]
    path.write_bytes(OBJECTS["naïve ö/ü?.bin"])
    healed = place.copy()
    assert (healed.entries, healed.contents, healed.contents_there) == ((COPY,), 1, CONTENTS - 1)


@pytest.mark.fault("C12")
def test_an_upload_of_contents_that_was_cut_off_goes_on_where_it_was(
    make: Make, weather: tuple[str, Weather], seen: Seen
) -> None:
    """F-C12: truncated upload: the way is cut at the second part of the large content."""
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    shelve(place)
    trouble = Trouble("error", "PUT", rf"{IN_CONTENTS}.*partNumber=2", times=1000)
    between.troubles.append(trouble)
    with pytest.raises(Unavailable, match="offsite-unavailable"):
        place.copy()
    seen(f"part 2 was refused {trouble.met} times")
    there = len(far_contents(place))
    between.troubles.clear()
    between.requests.clear()
    assert place.copy().contents_there == there
    assert not between.count("PUT", rf"{IN_CONTENTS}.*partNumber=1\b"), "the first part was sent again"
    assert between.count("PUT", rf"{IN_CONTENTS}.*partNumber=2\b") == 1
    assert len(far_contents(place)) == CONTENTS


def test_where_the_policy_keeps_objects_here_only_the_listing_goes_and_both_ways_say_so(make: Make) -> None:
    place = make(objects=False)
    shelve(place)
    copied = place.copy()
    assert COPY in copied.entries
    assert copied.left_here == "the objects stay on this host (offsite: objects: false)"
    assert copied.left_here in copied.sentence
    assert far_contents(place) == {}
    assert next(one for one in place.list().entries if one.id == COPY).contents is None
    lose(place)
    fetched = place.fetch(COPY)
    assert f"{CONTENTS} of its {CONTENTS} contents never went off-site" in fetched.sentence


def test_contents_in_a_second_store_are_left_there_and_that_is_said(place: Place) -> None:
    shelve(place, elsewhere="https://s3.elsewhere.example copies/lab/")
    copied = place.copy()
    assert COPY in copied.entries
    assert "they lie in the second store, https://s3.elsewhere.example" in copied.left_here
    assert far_contents(place) == {}
    lose(place)
    assert "the objects lie in the second store" in place.fetch(COPY).sentence


def test_something_else_under_the_name_of_a_content_is_found_and_left_as_it_is(place: Place) -> None:
    shelve(place)
    place.copy()
    (key,) = [key for key, size in far_contents(place).items() if 70_000 < size < MEBI]
    # The same bucket, as it would be when nobody vouches for what is there.
    for path in list(place.far()):
        if f"{COPY}/" in path:
            place.client.delete_object(Bucket=place.bucket, Key=path)
    theirs = b"x" * place.far()[key]
    place.client.put_object(Bucket=place.bucket, Key=key, Body=theirs)
    with pytest.raises(VerificationFailed, match="something else under this name"):
        place.copy()
    assert body(place, key) == theirs
    assert not [path for path in place.far() if f"{COPY}/manifest" in path]


def test_after_a_rotation_what_is_there_is_not_sent_again_and_comes_back(place: Place) -> None:
    shelve(place)
    place.copy()
    place.keys.new(datetime.now(UTC) + timedelta(days=1))
    shelve(place, NEXT, MORE)
    again = place.copy()
    assert (again.contents, again.contents_there) == (1, CONTENTS)
    before = lose(place)
    assert place.fetch(NEXT).contents == CONTENTS + 1
    for content in MORE.values():
        assert blob(place, content).read_bytes() == content
    assert {path for path in before if path.startswith("objects/")} <= set(tree(place.shelf / "minio"))


@pytest.mark.fault("C11")
def test_without_the_key_that_named_them_no_content_is_fetched(place: Place, seen: Seen) -> None:
    """F-C11: encryption key missing: that of the contents, while the manifest's own is there."""
    shelve(place)
    place.copy()
    (old,) = place.keys.directory.glob("*.key")
    place.keys.new(datetime.now(UTC) + timedelta(days=1))
    shelve(place, NEXT, MORE)
    place.copy()
    lose(place)
    old.rename(place.directory / "escrow")
    seen("the older key is gone from the host")
    with pytest.raises(Refused, match="backup-key-missing"):
        place.fetch(NEXT)
    assert not (place.shelf / "minio" / "copy" / NEXT).exists()
    (place.directory / "escrow").rename(old)
    assert place.fetch(NEXT).contents == CONTENTS + 1


@pytest.mark.fault("C1")
def test_a_content_that_is_gone_over_there_is_missed_by_list_and_fetch_and_sent_by_the_next_copy(
    place: Place, seen: Seen
) -> None:
    """F-C1: missing: somebody removed one content from the far side."""
    shelve(place)
    place.copy()
    listed = place.list()
    assert (listed.contents, next(one for one in listed.entries if one.id == COPY).contents) == (
        CONTENTS,
        CONTENTS,
    )
    assert next(one for one in listed.entries if one.id == COPY).checked is True
    key = min(far_contents(place))
    place.client.delete_object(Bucket=place.bucket, Key=key)
    seen(f"{key} was removed")
    assert next(one for one in place.list().entries if one.id == COPY).checked is False
    whole = place.directory / "whole"
    shutil.copytree(place.shelf, whole)
    lose(place)
    with pytest.raises(BackupUnusable, match="not off-site any more"):
        place.fetch(COPY)
    assert not (place.shelf / "minio" / "copy" / COPY).exists()
    shutil.rmtree(place.shelf)
    whole.rename(place.shelf)
    shelve(place, NEXT, MORE)
    assert place.copy().contents == 2


@pytest.mark.fault("C3")
@pytest.mark.parametrize("encrypt", [True, False], ids=["sealed", "in clear"])
def test_a_flipped_bit_in_a_far_content_is_found_before_it_has_its_name(
    make: Make, seen: Seen, *, encrypt: bool
) -> None:
    """F-C3: corrupt (bit flip): a content was changed where it lies."""
    place = make(encrypt=encrypt)
    shelve(place)
    place.copy()
    lose(place)
    (key,) = [key for key, size in far_contents(place).items() if 70_000 <= size < MEBI]
    changed = bytearray(body(place, key))
    changed[50_000] ^= 1
    place.client.put_object(Bucket=place.bucket, Key=key, Body=bytes(changed))
    seen("one bit of a content is flipped")
    with pytest.raises(BackupUnusable):
        place.fetch(COPY)
    assert not blob(place, OBJECTS["naïve ö/ü?.bin"]).exists()
    assert not (place.shelf / "minio" / "copy" / COPY).exists()


def test_in_clear_contents_go_under_their_digest_when_the_policy_says_so(make: Make) -> None:
    place = make(encrypt=False)
    shelve(place)
    assert place.copy().contents == CONTENTS
    names = {Path(key).name for key in far_contents(place)}
    assert names == {sha256(content) for content in OBJECTS.values()}
    lose(place)
    assert place.fetch(COPY).contents == CONTENTS
    assert blob(place, OBJECTS["large"]).read_bytes() == OBJECTS["large"]


def test_a_fetch_that_was_cut_off_brings_what_is_missing_and_no_more(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint, parallel=1)
    shelve(place)
    place.copy()
    lose(place)
    between.troubles.append(Trouble("cut", "GET", IN_CONTENTS, times=1000, after=2))
    with pytest.raises(Unavailable):
        place.fetch(COPY)
    assert not (place.shelf / "minio" / "copy" / COPY).exists()
    came = len(list((place.shelf / "minio" / "objects").glob("??/*")))
    assert came == 2
    between.troubles.clear()
    between.requests.clear()
    assert place.fetch(COPY).contents == CONTENTS - came
    assert not list((place.shelf / "minio" / ".incoming").iterdir())


def test_contents_that_sleep_in_the_archive_are_all_asked_back_at_once(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint)
    shelve(place)
    place.copy()
    lose(place)
    sleeps = Trouble("error", "GET", IN_CONTENTS, times=CONTENTS, status=403, code="InvalidObjectState")
    sleeps.pattern = rf"{IN_CONTENTS}[0-9a-f]"
    between.troubles.append(sleeps)
    between.troubles.append(
        Trouble("error", "POST", r"restore", times=CONTENTS, status=409, code="RestoreAlreadyInProgress")
    )
    with pytest.raises(Unavailable, match="offsite-archived") as asked:
        place.fetch(COPY)
    assert f"{CONTENTS} contents sleep" in asked.value.what
    assert place.fetch(COPY).contents == CONTENTS


def test_contents_that_nobody_vouches_for_are_compared_and_not_sent_again(
    make: Make, weather: tuple[str, Weather]
) -> None:
    endpoint, between = weather
    place = make(endpoint)
    shelve(place)
    place.copy()
    shutil.rmtree(place.shelf / "minio" / "copy" / COPY)
    shelve(place, NEXT, {**OBJECTS, "other": some_bytes(100, 33)})
    between.requests.clear()
    again = place.copy()
    assert (again.contents, again.contents_there) == (1, CONTENTS)
    assert len(sent(between)) == 1
    assert between.count("HEAD", IN_CONTENTS) >= CONTENTS
