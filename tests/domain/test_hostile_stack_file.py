"""A stack file that was not written by a friend."""

import pytest

from domain.errors import Refused
from domain.stack import Kind
from domain.stack_file import parse_stack
from tests.faults.record import Seen

SOUND = """\
stack: shop
project: shop-project
services:
  postgres:
    kind: postgres
    user: owner
    container: shop_db
  web:
    kind: proxy
backup:
  shelf: shelf
checks:
  - name: a check
    sql: SELECT 1
journey:
  entrance: web
  calls:
    - name: look
      path: /
"""


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as refused:
        parse_stack(text, "shop.yaml")
    assert refused.value.code == "stack-file"
    assert str(refused.value).isprintable()
    return refused.value


def test_the_sound_file_is_read() -> None:
    stack, _ = parse_stack(SOUND, "shop.yaml")
    assert stack.services["web"].kind is Kind.PROXY


@pytest.mark.fault("K1")
@pytest.mark.parametrize(
    "shelf",
    ["../../etc", "/etc", "a/../../b", "/srv/../etc", "/srv/a:/b", '"shelf\\0x"', "%2e%2e/x", "/proc/1"],
)
def test_a_shelf_that_leads_elsewhere_is_refused(shelf: str, seen: Seen) -> None:
    """F-K1: a path in the stack file that leaves the state directory or names one of the system."""
    error = refusal(SOUND.replace("shelf: shelf", f"shelf: {shelf}"))
    assert "line 11" in error.where
    seen(error.what)


@pytest.mark.fault("K3")
@pytest.mark.parametrize("name", ["x; rm -rf /", "$(id)", "`id`", "../images/x"])
def test_a_command_in_the_place_of_a_container_or_project_is_refused(name: str, seen: Seen) -> None:
    """F-K3: shell syntax in the names that the stack file gives."""
    for old in ("shop_db", "shop-project", "stack: shop\n"):
        new = f"stack: '{name}'\n" if old.startswith("stack") else f"'{name}'"
        error = refusal(SOUND.replace(old, new))
        assert name not in error.what
        seen(error.what)


@pytest.mark.fault("K4")
@pytest.mark.parametrize("word", ["--privileged", "-h evil", "-v/:/host"])
def test_an_option_in_the_place_of_an_account_or_container_is_refused(word: str, seen: Seen) -> None:
    """F-K4: an option in the place of a name that ends in an argument list."""
    for old in ("owner", "shop_db", "shop-project"):
        error = refusal(SOUND.replace(old, f"'{word}'"))
        seen(error.what)


@pytest.mark.fault("K4")
def test_an_account_that_would_write_a_line_of_its_own_into_the_access_rules_is_refused(seen: Seen) -> None:
    """F-K4: quotes and newlines in an account's name, which stands in pg_hba.conf."""
    error = refusal(SOUND.replace("user: owner", 'user: "owner\\" trust\\nhost all all all trust"'))
    assert "services.postgres.user" in error.what
    seen(error.what)


@pytest.mark.fault("K6")
@pytest.mark.parametrize("text", ['"a\\e[31m"', '"a\\nb"', '"a\\u202eb"', '"a\\0b"', "'" + "x" * 5000 + "'"])
def test_a_name_that_does_not_look_like_what_it_says_is_refused(text: str, seen: Seen) -> None:
    """F-K6: escapes, newlines, direction marks and endless text in names of the stack file."""
    for old in ("name: a check", "name: look"):
        error = refusal(SOUND.replace(old, f"name: {text}"))
        seen(error.what)


@pytest.mark.fault("K6")
def test_names_that_look_alike_are_not_the_same_name(seen: Seen) -> None:
    """F-K6: a Cyrillic letter in the name of a service, and a name in two Unicode forms."""
    error = refusal(SOUND.replace("  web:", "  w\u0435b:"))
    assert "services" in error.what
    assert "no service web" not in error.what
    refusal(SOUND.replace("entrance: web", "entrance: w\u0435b"))
    seen(error.what)


@pytest.mark.timeout(60)
@pytest.mark.fault("K7")
@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        "a: " + "[" * 5000 + "]" * 5000,
        "a: " + "{a: " * 5000 + "1" + "}" * 5000,
        "<<: {stack: shop}\n",
        "a: !!python/object/apply:os.system [id]\n",
        "port: " + "9" * 100_000,
        "keep: " + "9" * 300 + "d\n",
        "#" * 300_000,
        "stack: shop\nstack: shop\n",
        "{" * 100_000,
        '"a\\ud800b": 1\n',
    ],
    ids=[
        "aliases",
        "lists",
        "maps",
        "merge",
        "object",
        "digits",
        "duration",
        "size",
        "twice",
        "braces",
        "lone",
    ],
)
def test_a_file_that_unfolds_or_nests_without_end_stops_at_the_cap(bomb: str, seen: Seen) -> None:
    """F-K7: alias bombs, deep nesting, merge keys, objects and endless numbers in the stack file."""
    seen(refusal(SOUND + bomb).what)


@pytest.mark.parametrize(
    "path", ["http://evil.example/", "//evil.example/x", "file:///etc/passwd", "/a b", "\\\\x"]
)
def test_the_journey_never_leaves_the_stack(path: str) -> None:
    assert "journey.calls" in refusal(SOUND.replace("path: /", f"path: '{path}'")).what


def test_a_header_that_would_end_its_line_is_refused() -> None:
    text = SOUND.replace("      path: /", '      path: /\n      headers: {X: "a\\r\\nHost: evil"}')
    assert "headers" in refusal(text).what


@pytest.mark.parametrize("number", [0, -1, 70000, 10**30])
def test_a_port_that_is_none_is_refused(number: int) -> None:
    assert "port" in refusal(SOUND.replace("user: owner", f"port: {number}")).what


def test_an_endless_duration_is_refused_by_its_key() -> None:
    text = SOUND.replace("shelf: shelf", f"keep_base: {'9' * 400}d")
    assert "backup.keep_base" in refusal(text).what
