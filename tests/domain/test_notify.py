"""The channels of a stack file."""

import pytest

from domain.errors import Refused
from domain.notify import Occasion, channels_for
from domain.notify_delivery import Delivery, not_taken
from domain.stack import Stack
from domain.stack_file import parse_stack

STACK = """\
stack: shop
project: shop
services:
  postgres: {kind: postgres}
"""


def parsed(notify: str) -> Stack:
    return parse_stack(STACK + notify, "stack.yaml")[0]


def test_the_bare_word_on_is_a_key_although_yaml_reads_it_as_true() -> None:
    stack = parsed("notify:\n  - {name: ops, url: env:OPS_URL, on: [failed, passed]}\n")
    assert stack.notify[0].on == (Occasion.FAILED, Occasion.PASSED)


def test_without_it_a_channel_hears_of_verifications_either_way() -> None:
    stack = parsed("notify:\n  - {name: ops, url: 'file:/run/secrets/ops'}\n")
    assert [o for o in Occasion if channels_for(stack.notify, o)] == list(Occasion)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("  - {name: ops, url: 'https://hooks.example.org/secret-word'}", "notify.0.url"),
        ("  - {name: ops, url: env:A, on: []}", "notify.0.on"),
        ("  - {name: ops, url: env:A, on: [sometimes]}", "notify.0.on.0"),
        ("  - {name: ops, url: env:A}\n  - {name: ops, url: env:B}", "ops is there twice"),
        ("  - {name: ops, url: 'container:nowhere:URL'}", "names no service"),
        ("  - {name: ops, url: env:A, true: [failed], 'on': [passed]}", "notify.0"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_an_address_is_not_repeated(given: str, refused: str) -> None:
    with pytest.raises(Refused) as error:
        parsed(f"notify:\n{given}\n")
    assert refused in str(error.value)
    assert "secret-word" not in str(error.value)


def test_who_was_not_reached_and_who_was_is_said() -> None:
    sent = (
        Delivery(channel="pager", taken=False, because="no answer within 12 s"),
        Delivery(channel="mail", taken=True),
    )
    assert not_taken(sent) == "not told by pager (no answer within 12 s); told by mail"
    assert not_taken(sent[:1]).endswith("by no channel at all")
    assert not_taken(sent[1:]) == ""
