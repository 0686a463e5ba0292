"""What is told of a real dump while it runs, and on what its estimates rest."""

import re

import pytest

from activities import offsite_progress
from activities.postgres.dump import Dumps
from domain.backups import spoken_bytes
from domain.dumps import GLOBALS
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.dumped import database, wanted

pytestmark = pytest.mark.hand


def test_a_dump_tells_how_far_it_is_by_the_last_one_of_its_kind_else_by_the_size_of_the_database(
    server: Server, dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(offsite_progress, "beat", told.append)
    first = dumps.ensure_dump(wanted(server, label="1"))
    sizes = {file.path: file.bytes for file in first.files}
    written = [one for one in told if one.startswith("the dump of chat")]
    assert written[-1].startswith("the dump of chat about ")
    assert f"{spoken_bytes(sizes['chat.dump'])} of about {spoken_bytes(database(first).bytes)}" in written[-1]
    assert any(one.startswith("counting chat, now public.messages") for one in told)
    assert next(one for one in told if one.startswith("the dump of the globals")).count("%") == 0
    told.clear()
    server.do("TRUNCATE messages CASCADE")
    second = dumps.ensure_dump(wanted(server, label="2"))
    last = [one for one in told if one.startswith("the dump of chat")][-1]
    now = next(file.bytes for file in second.files if file.path == "chat.dump")
    assert now < sizes["chat.dump"]
    assert f"{spoken_bytes(now)} of about {spoken_bytes(sizes['chat.dump'])}" in last
    assert all(int(share) <= 100 for one in told for share in re.findall(r"(\d+) %", one))
    assert GLOBALS in sizes
