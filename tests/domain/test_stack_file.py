from pathlib import Path

import pytest

from domain.errors import Refused
from domain.stack import Kind, Stack
from domain.stack_file import LIMIT_BYTES, parse_stack

SOUND = """\
stack: shop
project: shop-project
services:
  postgres:
    kind: postgres
    objective: {rto: 30m, rpo: 5m}
  api:
    kind: functions
    depends_on: [postgres]
"""


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as error:
        parse_stack(text, "shop.yaml")
    assert error.value.code == "stack-file"
    return error.value


def test_a_sound_file_is_read_with_the_digest_of_its_text() -> None:
    stack, digest = parse_stack(SOUND, "shop.yaml")
    assert stack.services["api"].depends_on == ("postgres",)
    assert len(digest) == 64
    assert parse_stack(SOUND + "# a word more\n", "shop.yaml") != (stack, digest)


def test_the_stack_file_of_the_lab_is_sound() -> None:
    path = Path(__file__).parents[2] / "infra" / "stack.yaml"
    stack, _ = parse_stack(path.read_text(), str(path))
    assert set(Kind) - {service.kind for service in stack.services.values()} == {Kind.OTHER}
    assert [call.name for call in stack.journey.calls][:2] == ["sign in", "send"]


@pytest.mark.parametrize(
    ("old", "new", "what", "line", "hint"),
    [
        ("objective:", "objetive:", "unknown key services.postgres.objetive", 6, "did you mean objective?"),
        ("rto: 30m", "rtoo: 30m", "services.postgres.objective", 6, ""),
        ("kind: functions", "kind: gateway", "services.api.kind", 8, ""),
        ("rto: 30m", "rto: half an hour", "services.postgres.objective.rto", 6, "write a duration as"),
        ("project: shop-project", "project: [shop]", "project", 2, ""),
        ("[postgres]", "[mysql]", "services.api.depends_on: no service mysql", 9, "postgres, api"),
        ("stack: shop", "stack: Shop Floor", "stack", 1, ""),
    ],
)
def test_a_mistake_is_refused_with_its_key_and_line(
    old: str, new: str, what: str, line: int, hint: str
) -> None:
    error = refusal(SOUND.replace(old, new))
    assert what in error.what
    assert error.where == f"shop.yaml, line {line}"
    assert hint in error.hint


def test_a_key_that_is_there_twice_is_refused() -> None:
    error = refusal(SOUND.replace("    kind: functions\n", "    kind: functions\n    kind: proxy\n"))
    assert "services.api.kind is there twice" in error.what
    assert error.where == "shop.yaml, line 9"
    assert "line 8" in error.hint


def test_an_alias_is_refused() -> None:
    text = SOUND.replace("stack: shop", "stack: &name shop").replace("shop-project", "*name")
    error = refusal(text)
    assert "alias *name" in error.what
    assert error.where == "shop.yaml, line 2"


def test_a_large_text_is_refused_before_it_is_read() -> None:
    assert "256 KiB" in refusal("#" * (LIMIT_BYTES + 1)).what


@pytest.mark.parametrize("text", ["", "- a list\n", "a: [\n", "\t- x", "at: 2026-13-40\n", "? [a]\n: b\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    refusal(text)


def test_a_text_of_nothing_but_brackets_is_refused_at_its_first_levels() -> None:
    assert "more than 20 levels" in refusal("{" * 50_000).what


def test_a_password_written_out_is_refused_and_not_repeated() -> None:
    error = refusal(SOUND.replace("    kind: postgres\n", "    kind: postgres\n    password: hunter2\n"))
    assert "services.postgres.password" in error.what
    assert "hunter2" not in str(error)


def test_a_secret_of_an_unknown_service_is_refused() -> None:
    reference = "    kind: postgres\n    password: container:postgress:POSTGRES_PASSWORD\n"
    assert "names no service" in refusal(SOUND.replace("    kind: postgres\n", reference)).what


def test_a_stack_without_a_database_or_with_two_is_refused() -> None:
    assert "one service of kind postgres" in refusal(SOUND.replace("kind: postgres", "kind: redis")).what
    assert "not 2" in refusal(SOUND.replace("kind: functions", "kind: postgres")).what


def test_every_default_of_the_model_can_be_written_and_read_again() -> None:
    stack, _ = parse_stack(SOUND, "shop.yaml")
    assert Stack.model_validate_json(stack.model_dump_json()) == stack
