"""What is said of a stack's configuration in clear, what it lacks, and what its Compose files name."""

import pytest

from domain.configuration import (
    Configuration,
    KeptService,
    group,
    judge_environment,
    judge_images,
    judge_secrets,
    judge_services,
    keyed_digest,
)
from domain.configuration_references import Reference, references_in
from domain.errors import Refused
from domain.hasura_metadata import TABLES, canonical, holdings_of, tables_of
from domain.holdings import SAMPLES, compare_holdings
from domain.sealing import BackupKey

KEY, OTHER = BackupKey(b"k" * 32), BackupKey(b"o" * 32)
WEB = KeptService(name="web", image="web:1", image_id="sha256:ab", variables=("JWT_KEY", "MODE"))
KEPT = Configuration(stack="shop", project="shop", working_dir="/srv/shop", services=(WEB,))


def test_a_digest_of_a_short_secret_cannot_be_guessed_without_the_key() -> None:
    assert keyed_digest(KEY, b"hunter2") == keyed_digest(KEY, b"hunter2")
    assert keyed_digest(KEY, b"hunter2") != keyed_digest(OTHER, b"hunter2")
    assert keyed_digest(KEY, b"ab", b"c") != keyed_digest(KEY, b"a", b"bc"), "parts do not run together"


def test_a_group_counts_everything_and_shows_no_value() -> None:
    held = group(KEY, "web", {f"variable V{n}": f"value-{n}".encode() for n in range(SAMPLES + 20)})
    assert (held.count, len(held.samples)) == (SAMPLES + 20, SAMPLES)
    assert "value-" not in held.model_dump_json()


def test_a_change_in_what_is_no_sample_is_seen_too() -> None:
    things = {f"variable V{n:03}": b"x" for n in range(SAMPLES + 5)}
    before, after = (
        group(KEY, "web", things),
        group(KEY, "web", things | {f"variable V{SAMPLES + 1:03}": b"y"}),
    )
    assert [proof.passed for proof in compare_holdings([before], [after])] == [False]


def test_each_lack_is_named() -> None:
    assert "web ran" in judge_services(KEPT, ["cache"]).evidence
    assert judge_services(KEPT, ["cache", "web"]).passed
    bare = KEPT.model_copy(update={"services": (WEB.model_copy(update={"image_id": ""}),)})
    assert "image of web" in judge_images(bare).evidence
    assert judge_images(KEPT).passed
    missing = judge_secrets(["env:A", "env:B"], {"env:A": "a", "env:B": ""})
    assert (missing.passed, missing.evidence) == (False, "the secret env:B is missing")
    assert "MODE of web" in judge_environment(KEPT, {"web": ["JWT_KEY"]}).evidence
    assert judge_environment(KEPT, {"web": ["JWT_KEY", "MODE"]}).passed


def test_of_nothing_that_was_seen_nothing_is_proven() -> None:
    nothing = KEPT.model_copy(update={"services": ()})
    assert judge_services(nothing, ["web"]).passed is False
    assert judge_images(nothing).passed is False
    assert judge_secrets([], {}).passed is False


COMPOSE = """
x-common: &common {env_file: common.env}
include: [{path: [parts/db.yaml], env_file: parts/db.env}]
services:
  web:
    <<: *common
    extends: {file: base.yaml, service: web}
  job:
    env_file: [a.env, {path: b.env, required: false}]
    environment: !reset null
configs: {site: {file: ./site.conf}}
secrets: {jwt: {file: secrets/jwt}, other: {environment: OTHER}}
"""


def test_every_file_that_a_compose_file_names_is_found() -> None:
    assert set(references_in(COMPOSE)) == {
        Reference("common.env"),
        Reference("base.yaml", compose=True),
        Reference("a.env"),
        Reference("b.env", required=False),
        Reference("./site.conf"),
        Reference("secrets/jwt"),
        Reference("parts/db.yaml", compose=True),
        Reference("parts/db.env"),
    }


BOMB = "\n".join(
    [
        "a0: &a0 {env_file: x.env}",
        *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)),
    ]
)


@pytest.mark.timeout(30)
def test_aliases_that_would_unfold_without_end_are_not_unfolded() -> None:
    found = references_in(f"{BOMB}\nservices: {{web: {{<<: *a29}}}}\n")
    assert found == (Reference("x.env"),)


@pytest.mark.parametrize("text", ["[" * 500, "a: [", "x" * 1_100_000], ids=["deep", "broken", "large"])
def test_a_text_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(Refused) as error:
        references_in(text)
    assert error.value.code == "compose-file"


TABLE = {
    "table": {"schema": "public", "name": "notes"},
    "select_permissions": [{"role": "user", "permission": {"columns": "*", "filter": {}}}],
    "event_triggers": [{"name": "told", "headers": [{"name": "x", "value": "secret-of-a-webhook"}]}],
}
METADATA = {"version": 3, "sources": [{"name": "default", "tables": [TABLE]}]}


def test_metadata_is_held_by_tables_permissions_and_triggers_without_its_secrets() -> None:
    held = {one.name: one for one in holdings_of(METADATA, {"table x": "gone"}, KEY)}
    assert [one.name for one in held[TABLES].samples] == ["default public.notes"]
    assert [one.name for one in held["permissions"].samples] == ["default public.notes select user"]
    assert [one.name for one in held["event triggers"].samples] == ["default public.notes told"]
    assert held["inconsistent"].count == 1
    assert "secret-of-a-webhook" not in "".join(one.model_dump_json() for one in held.values())


def test_metadata_has_one_spelling() -> None:
    turned = {"sources": METADATA["sources"], "version": 3}
    assert canonical(turned) == canonical(METADATA)
    assert list(tables_of(turned)) == [("default", "public", "notes")]
