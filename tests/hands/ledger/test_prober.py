import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from activities.ledger import Ledger
from activities.ledger_journal import LedgerFiles
from activities.ledger_places import entrance_of_stack
from domain.ledger import DowntimeOrder
from domain.stack import Stack
from tests.hands.ledger.conftest import (
    PASSWORD,
    Lab,
    until,
)
from worker.prober import ProbeJournal, Prober, run_prober

ENTRANCE = """
from aiohttp import web
sent = []

async def sign_in(request):
    body = await request.json()
    if body != {"email": "user@lab", "password": "%s"}:
        return web.json_response({"error": "invalid-email-password"}, status=401)
    sent.clear()
    return web.json_response({"session": {"accessToken": "good for five"}})

async def send(request):
    if request.headers["Authorization"] != "Bearer good for five" or len(sent) >= 5:
        return web.json_response({"error": "unauthenticated"}, status=401)
    sent.append((await request.json())["content"])
    return web.json_response({"id": sent[-1]})

app = web.Application()
app.add_routes([web.post("/signin", sign_in), web.post("/send", send)])
web.run_app(app, port=80, print=None)
"""
JOURNEY = """
stack: ledgered
project: %s
services: {nginx: {kind: proxy}}
journey:
  secrets: {email: "container:nginx:EMAIL", password: "container:nginx:PASSWORD"}
  calls:
    - {name: sign in, path: /signin, body: {email: "{secret:email}", password: "{secret:password}"},
       capture: {token: session.accessToken}}
    - {name: send, path: /send, headers: {Authorization: "Bearer {token}"}, body: {content: "probe {nonce}"}}
"""


def write_probes(files: LedgerFiles, start: datetime, actions: list[tuple[float, bool]]) -> None:
    journal = ProbeJournal(files.probe, rotate_at_bytes=1800)
    for second, ok in actions:
        journal.append(at=start + timedelta(seconds=second), ok=ok, seconds=0.5)
    journal.close()


def test_downtime_is_the_longest_time_without_an_acknowledged_action(ledger: Ledger, tmp_path: Path) -> None:
    files, start = LedgerFiles(tmp_path, "ledgered"), datetime(2026, 11, 22, 5, tzinfo=UTC)
    write_probes(files, start, [(second, not 10 <= second < 25) for second in range(40)])
    found = ledger.measure_downtime(
        DowntimeOrder(stack="ledgered", declared_at=start, verified_at=start + timedelta(seconds=35))
    )
    assert found.seconds == 16.0
    assert found.longest_from == start + timedelta(seconds=9.5)
    assert (found.actions, found.failed) == (20, 15)
    assert found.unwatched_seconds == 1.0


def test_downtime_without_a_prober_is_not_measured(ledger: Ledger, tmp_path: Path) -> None:
    files, start = LedgerFiles(tmp_path, "ledgered"), datetime(2026, 11, 22, 5, tzinfo=UTC)
    order = DowntimeOrder(stack="ledgered", declared_at=start, verified_at=start + timedelta(seconds=35))
    assert ledger.measure_downtime(order).seconds is None
    write_probes(files, start - timedelta(hours=1), [(0, True), (1, True)])
    assert ledger.measure_downtime(order).seconds is None


@pytest.fixture
def entrance(lab: Lab) -> Iterator[Stack]:
    """Return a stack whose entrance signs in one user and forgets the token after five messages."""
    environment = {"EMAIL": "user@lab", "PASSWORD": PASSWORD}
    lab.run("nginx", "services", environment, ["python3", "-c", ENTRANCE % PASSWORD], 80)
    yield Stack.model_validate(yaml.safe_load(JOURNEY % lab.project))
    lab.engine.remove(lab.name("nginx"), force=True)


def probes(files: LedgerFiles) -> list[bool]:
    if not files.probe.exists():
        return []
    return [json.loads(line)["ok"] for line in files.probe.read_text().splitlines() if line]


def test_the_prober_signs_in_again_when_its_token_is_refused_and_survives_an_outage(
    lab: Lab, entrance: Stack, tmp_path: Path
) -> None:
    files = LedgerFiles(tmp_path, "ledgered")
    stop = threading.Event()
    thread = threading.Thread(
        target=run_prober,
        args=(entrance, tmp_path, stop),
        kwargs={"engines": lambda: lab.engine, "variables": {}, "per_second": 20},
    )
    thread.start()
    try:
        until(lambda: sum(probes(files)) >= 12, "messages are acknowledged past a spent token")
        lab.engine.kill(lab.name("nginx"))
        before = len(probes(files))
        until(lambda: len(probes(files)) >= before + 5, "the prober goes on in the outage")
        assert not any(probes(files)[before + 1 : before + 5])
        lab.engine.start(lab.name("nginx"))
        acknowledged_before = sum(probes(files))
        until(lambda: sum(probes(files)) >= acknowledged_before + 6, "messages are acknowledged again")
    finally:
        stop.set()
        thread.join()
    assert PASSWORD not in files.probe.read_text()


def test_a_stack_without_a_send_call_has_no_prober(lab: Lab, tmp_path: Path) -> None:
    assert not Prober(lab.stack, lambda: lab.engine, {}).able
    run_prober(lab.stack, tmp_path, threading.Event(), engines=lambda: lab.engine, variables={}, per_second=1)
    assert not LedgerFiles(tmp_path, "ledgered").probe.exists()
    assert entrance_of_stack(lab.stack).service == "nginx"
