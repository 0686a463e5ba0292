"""When an approval has lapsed because things are no longer as people were told."""

import pytest

from domain.order import PostgresTarget, Target
from domain.second_look import Standing, as_facts, lapsed, moved

STATED = Standing(verdict="corrupt", answers=True)
SERVER = PostgresTarget(
    service="postgres",
    container_id="c" * 64,
    container_name="x_postgres",
    image_id="sha256:1",
    volume="v",
    mount_path="/data",
    pgdata="/data",
    uid=999,
    gid=999,
)
TARGET = Target(stack="shop", project="shop", postgres=SERVER, services=(), shelf="/shelf")


def server(**changed: str) -> Target:
    return TARGET.model_copy(update={"postgres": SERVER.model_copy(update=changed)})


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"verdict": "sound"}, "the diagnosis was corrupt, now it is sound: because"),
        ({"verdict": "index_only"}, "the diagnosis was corrupt, now it is index_only: because"),
        ({"verdict": "unknown"}, "the diagnosis was corrupt, now it is unknown: because"),
        ({"answers": False}, "the server no longer answers: because"),
        ({"backup_there": False}, "the backup is no longer on the shelf"),
    ],
)
def test_what_changed_since_people_were_told_makes_their_approval_lapse(
    now: dict[str, object], why: str
) -> None:
    assert lapsed(STATED, STATED.model_copy(update=now), "because") == why


def test_what_people_were_told_already_does_not_make_it_lapse_again() -> None:
    gone = STATED.model_copy(update={"backup_there": False})
    assert lapsed(STATED, STATED, "because") is None
    assert lapsed(gone, gone, "because") is None
    assert lapsed(gone, STATED, "because") is None


def test_a_server_on_another_volume_or_made_anew_is_another_one() -> None:
    assert moved(TARGET, server()) is None
    assert moved(TARGET, server(container_name="y_postgres")) is None
    assert "in the volume w, no longer in v" in (
        moved(TARGET, server(volume="w", container_id="d" * 64)) or ""
    )
    assert "somebody made it anew" in (moved(TARGET, server(container_id="d" * 64)) or "")


def test_people_who_are_asked_again_are_told_why_first() -> None:
    healed = Standing(verdict="sound", answers=True, backup_there=False)
    facts = as_facts(healed, "it healed", "b1")
    assert facts[0] == "Asked again: it healed"
    assert facts[1:] == ("The backup b1 is no longer on the shelf", "A rejection leaves the server as it is")
