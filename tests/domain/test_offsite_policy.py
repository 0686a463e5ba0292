"""The second place of backups: a policy that cannot be weaker than a year and never in clear on a wire."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.errors import Refused
from domain.offsite import OffsitePolicy, early_expiry, wanted_rule
from domain.offsite_copies import FarFile, FarManifest, place_of, stays_inside
from domain.s3_store import merged
from domain.stack import Stack
from domain.stack_file import parse_stack

LAB = (Path(__file__).parents[2] / "infra" / "stack.yaml").read_text()
LEAST = {"bucket": "copies", "access_key": "env:A", "secret_key": "env:B"}
ROOT = "dr/lab/"


def policy(**changes: Any) -> OffsitePolicy:
    return OffsitePolicy.model_validate(LEAST | changes)


def stack(*lines: str) -> Stack:
    text = "\n".join(("offsite:", "  bucket: copies", "  access_key: env:A", "  secret_key: env:B", *lines))
    return parse_stack(f"{LAB}\n{text}\n", "stack.yaml")[0]


def test_three_lines_are_a_policy_with_all_that_the_runbook_asks_for() -> None:
    found = stack().offsite
    assert found is not None
    assert (found.endpoint, found.storage_class, found.sse, found.encrypt) == (
        None,
        "STANDARD_IA",
        "aws:kms",
        True,
    )
    assert found.exclude == ("*.tmp",)
    assert found.lifecycle.glacier_after == timedelta(days=90)
    assert found.lifecycle.expire_after == timedelta(days=365)


def test_a_stack_file_without_it_is_as_it_was() -> None:
    parsed, _ = parse_stack(LAB, "stack.yaml")
    assert parsed.offsite is None
    before = parsed.model_dump(mode="json", exclude={"offsite"})
    assert Stack.model_validate(before) == parsed


def test_a_policy_survives_the_way_through_a_history() -> None:
    found = stack("  part_size: 8MiB", "  object_lock: {mode: compliance, days: 365}").offsite
    assert found is not None
    assert found.part_size == 8 * 1024 * 1024
    assert OffsitePolicy.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  lifecycle: {expire_after: 364d}", "365 days at least"),
        ("  lifecycle: {expire_after: 8761h}", "whole days"),
        ("  lifecycle: {glacier_after: 400d}", "before copies expire"),
        ("  lifecycle: {glacier_after: 3d}", "from 30 days on"),
        ("  lifecycle: {abort_incomplete_after: 1d}", "within 7 days"),
        ("  part_size: 1MiB", "5MiB"),
        ("  kms_key: abc\n  sse: none", "sse: aws:kms"),
        ("  endpoint: http://store.example\n  encrypt: false", "in clear"),
        ("  endpoint: ftp://store.example", "endpoint"),
        ("  endpoint: https://store.example/../x", "endpoint"),
        ("  prefix: ../x", "prefix"),
        ("  prefix: a//b", "prefix"),
        ("  colour: red", "unknown key offsite.colour"),
        ("  exclude: ['../*']", "exclude"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_line(line: str, said: str) -> None:
    with pytest.raises(Refused, match="stack-file") as refused:
        stack(line)
    assert said in refused.value.what
    assert "line" in refused.value.where


def test_a_secret_in_the_place_of_a_reference_is_refused_and_not_repeated() -> None:
    secret = "AKIAIOSFODNN7EXAMPLE"
    with pytest.raises(Refused) as refused:
        parse_stack(LAB + f"\noffsite: {{bucket: copies, access_key: {secret}, secret_key: env:B}}\n", "f")
    assert "offsite.access_key" in refused.value.what
    assert secret not in str(refused.value)


def test_without_encryption_only_a_confidential_way_is_taken() -> None:
    for endpoint in (None, "https://store.example", "http://127.0.0.1:9000"):
        assert policy(encrypt=False, endpoint=endpoint).encrypt is False


def test_the_rule_moves_to_the_archive_after_90_days_and_expires_after_a_year() -> None:
    rule = wanted_rule(policy(), ROOT)
    assert rule["Filter"] == {"Prefix": ROOT}
    assert rule["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER"}]
    assert rule["Expiration"] == {"Days": 365}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 365}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert "Transitions" not in wanted_rule(policy(lifecycle={"glacier_after": None}), ROOT)


def test_rules_of_others_stay_and_ours_is_there_once() -> None:
    rule = wanted_rule(policy(), ROOT)
    others = [{"ID": "theirs", "Status": "Enabled"}, rule | {"Status": "Disabled"}]
    assert merged(others, rule) == [{"ID": "theirs", "Status": "Enabled"}, rule]


@pytest.mark.parametrize(
    ("rule", "early"),
    [
        ({"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 30}}, True),
        ({"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 364}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "dr/"}, "Expiration": {"Days": 7}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "dr/lab/postgres"}, "Expiration": {"Days": 7}}, True),
        ({"Status": "Enabled", "Filter": {"Prefix": "dr/"}, "Expiration": {"Date": "2027-01-01"}}, True),
        ({"Status": "Enabled", "Filter": {"And": {"Prefix": "dr/"}}, "Expiration": {"Days": 7}}, True),
        ({"Status": "Disabled", "Filter": {}, "Expiration": {"Days": 30}}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}, False),
        ({"Status": "Enabled", "Filter": {"Prefix": "dr/other/"}, "Expiration": {"Days": 30}}, False),
        ({"Status": "Enabled", "Filter": {"Tag": {"Key": "a"}}, "Expiration": {"Days": 30}}, False),
        ({"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 365}}, False),
        ({"Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 1}]}, False),
    ],
)
def test_a_rule_of_others_that_would_remove_copies_early_is_found(
    rule: dict[str, Any], *, early: bool
) -> None:
    assert (early_expiry([rule], ROOT) is not None) is early


def test_our_own_rule_is_never_an_early_one() -> None:
    assert early_expiry([wanted_rule(policy(), ROOT)], ROOT) is None


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("data/base/1/1259", True),
        ("a file with spaces", True),
        (".hidden", True),
        ("../outside", False),
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("a//b", False),
        ("a/./b", False),
        ("", False),
        ("a\0b", False),
        ("a\\..\\b", False),
        ("a/" * 600, False),
    ],
)
def test_a_manifest_names_nothing_outside_its_entry(path: str, *, inside: bool) -> None:
    assert stays_inside(path) is inside
    file = FarFile(path=path, bytes=1, sha256="0" * 64, key="k", far_bytes=1, far_sha256="0" * 64)
    manifest = FarManifest(stack="lab", store="redis", kind="rdb", id="one", files=(file,), entry="{}")
    assert (manifest.limitation() is None) is inside


def test_a_manifest_without_files_or_with_one_twice_is_none() -> None:
    file = FarFile(path="a", bytes=1, sha256="0" * 64, key="k", far_bytes=1, far_sha256="0" * 64)
    empty = FarManifest(stack="lab", store="redis", kind="rdb", id="one", entry="{}")
    assert empty.limitation() == "it holds no file at all"
    assert empty.model_copy(update={"files": (file, file)}).limitation() == "it names a file twice"


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("dr/lab/redis/rdb/one/files/a/b", ("redis", "rdb", "one", "files/a/b")),
        ("dr/lab/redis/rdb/one", None),
        ("dr/lab/strangers/rdb/one/x", None),
        ("dr/lab/redis/../one/x", None),
        ("dr/lab2/redis/rdb/one/x", None),
    ],
)
def test_an_object_is_ours_by_its_name_alone(key: str, place: tuple[str, ...] | None) -> None:
    assert place_of(key, ROOT) == place
