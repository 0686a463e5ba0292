"""After a whole recovery no secret of the stack is anywhere but where it is kept."""

import re
import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from domain import names
from infra.lab.lab import Lab
from tests.e2e.secrets_seen import Watching, found_in, gathered, spans
from tests.e2e.stand import Stand

pytestmark = pytest.mark.mutant("M23", at_length=True)

CONTROL = f"control-{secrets.token_hex(8)}"
IN_A_LOG = f"S3cret-{secrets.token_hex(8)}"
IN_A_FILE = f"filed-{secrets.token_hex(8)}"
IN_THE_ENVIRONMENT = f"environ-{secrets.token_hex(8)}"
# What a server says when it reads a damaged page, with the address of somebody who has no right to be there.
LOGGED = (
    f"invalid page in block 7 of relation base/1/2, read for postgres://app:{IN_A_LOG}@10.0.0.9:5432/chat"
)


@dataclass(frozen=True)
class Told:
    """All that was said of one recovery, by place, and the secrets that may not be in it."""

    places: dict[str, str]
    secrets: dict[str, str]
    report: dict[str, Any]


def of_the_lab(lab: Lab) -> dict[str, str]:
    """Return the secrets that the lab made for itself; the name of an account is none."""
    return {
        name: value
        for name, value in lab.environment().items()
        if re.search("PASSWORD|SECRET|KEY", name) and value
    }


@pytest.fixture(scope="module")
def told(lab_stand: Stand) -> Told:
    file = lab_stand.state / "canary"
    file.write_text(IN_A_FILE)
    text = lab_stand.stack_file.read_text()
    references = (
        f"  secrets:\n    filed: file:{file}\n    environ: env:CANARY_OF_THE_ENVIRONMENT\n"
        "    password: container:auth"
    )
    assert text.count("  secrets:\n    password: container:auth") == 1
    lab_stand.stack_file.write_text(text.replace("  secrets:\n    password: container:auth", references))
    lab_stand.end_open_run()
    with spans() as (collector, sent):
        lab_stand.restart_worker(CANARY_OF_THE_ENVIRONMENT=IN_THE_ENVIRONMENT, DR_OTLP_ENDPOINT=collector)
        try:
            with Watching(lab_stand) as watching:
                # Before the damage: the first such line of the log is the one that is quoted.
                lab_stand.sql(f"DO $$ BEGIN RAISE WARNING '{LOGGED}'; END $$")
                lab_stand.damage_pages()
                report = lab_stand.to_the_end(lab_stand.recover())
                _control(lab_stand, watching)
            places = gathered(lab_stand, watching, sent)
        finally:
            lab_stand.stack_file.write_text(text)
            lab_stand.restart_worker()
    planted = {"a log": IN_A_LOG, "a file": IN_A_FILE, "the environment": IN_THE_ENVIRONMENT}
    return Told(places, of_the_lab(lab_stand.lab) | planted, report)


def _control(stand: Stand, watching: Watching) -> None:
    """Say one word in each place as a hand that leaks would, so that the search is shown to work."""
    said = stand.dr("backup", "now", "--reason", CONTROL)
    assert said.code == 0, said
    image = stand.lab.container("postgres").attrs["Image"]
    leaking = stand.client.containers.run(
        image,
        ["sh", "-c", f": {CONTROL}; sleep 60"],
        entrypoint=[],
        environment={"PGPASSWORD": CONTROL},
        labels={names.LABEL_MADE_BY: "dr", names.LABEL_STACK: stand.name},
        detach=True,
        network_mode="none",
    )
    try:
        watching.look()
    finally:
        leaking.remove(force=True)


def test_no_secret_is_in_any_place(told: Told) -> None:
    assert told.report["outcome"] == "recovered", told.report["rule"]
    assert {"POSTGRES_PASSWORD", "HASURA_ADMIN_SECRET", "JWT_KEY", "MINIO_ROOT_PASSWORD"} <= set(told.secrets)
    assert {"MEILI_MASTER_KEY", "LAB_USER_PASSWORD"} <= set(told.secrets)
    assert found_in(told.places, told.secrets) == []


def test_the_line_of_the_log_that_held_a_password_was_really_quoted(told: Told) -> None:
    assert "read for postgres://app:***@10.0.0.9:5432/chat" in told.places["histories"]


def test_the_search_finds_what_a_leaking_hand_would_say(told: Told) -> None:
    where = {one.partition(" in ")[2] for one in found_in(told.places, {"control": CONTROL})}
    assert {"histories", "containers", "argv of processes"} <= where, where
    assert any("temporal" in place for place in where), where


def test_every_place_was_really_searched(told: Told) -> None:
    for place in ("histories", "search attributes and memo", "metrics", "traces", "containers", "open runs"):
        assert told.places[place], place
    searched = " ".join(told.places)
    for name in ("report.html", "report.json", "report.yaml", "report.md", "worker.log", "notices.jsonl"):
        assert name in searched, name
    assert "ensure_restored" in told.places["open runs"]
    assert "pg_receivewal" in told.places["argv of processes"]
    assert '"dr.role": "restore"' in told.places["containers"]
