"""The command ``dr`` with arguments that were not meant well, as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from activities.postgres.sql import Sql
from domain.errors import Refused
from domain.recovery import Copy
from tests.faults.record import Seen
from tests.hands.hostile.planted import SECRET, planted, untouched

ROOT = Path(__file__).parents[3]
CALLS: list[tuple[str, list[str]]] = [
    ("K1", ["report", "../../outside/report"]),
    ("K1", ["report", "/etc/passwd"]),
    ("K1", ["recover", "corruption", "--stack", "../../etc"]),
    ("K1", ["timeline", "--stack", "../../outside"]),
    ("K3", ["recover", "corruption", "--yes-stack", "x; touch dr-pwned"]),
    ("K3", ["report", "$(touch dr-pwned)"]),
    ("K3", ["report", "`touch dr-pwned`"]),
    ("K4", ["report", "--", "--privileged"]),
    ("K4", ["recover", "corruption", "--stack=--privileged"]),
    ("K4", ["report", "--privileged"]),
    ("K6", ["report", "\x1b[31mred\x1b]0;owned\x07\nFORGED: recovered"]),
    ("K6", ["report", "\u202egpj.exe \u200b"]),
    ("K6", ["report", "[bold]x[/] [/x] :smile:"]),
    ("K6", ["recover", "corruption", "--stack", "lab", "--reason", "r" * 100_000]),
    ("K6", ["recover", "corruption", "--stack", "sh\u043ep"]),
]

SAMPLE = {0, 4, 7, 10}


def dr(state: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
    return subprocess.run(
        [sys.executable, "-c", "from starter.cli import main; main()", *words],
        env=kept | {"DR_STATE": str(state), "PYTHONPATH": str(ROOT), "TEMPORAL_ADDRESS": "127.0.0.1:1"},
        cwd=state,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param(row, words, marks=pytest.mark.fault(row, at_length=n not in SAMPLE))
        for n, (row, words) in enumerate(CALLS)
    ],
    ids=[f"{row}-{number}" for number, (row, _) in enumerate(CALLS)],
)
def test_a_word_that_was_not_meant_well_is_refused_in_words(
    tmp_path: Path, row: str, words: list[str], seen: Seen
) -> None:
    """F-K1, F-K3, F-K4, F-K6: paths, commands, options, escapes and endless words as arguments of dr."""
    place = planted(tmp_path)
    before = place.forbidden()
    said = dr(place.shelf, *words)
    assert said.returncode in {2, 5, 6}, said
    text = (said.stdout + said.stderr).decode()
    assert "Traceback" not in text
    assert SECRET not in text
    assert len(text) < 10_000
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines), text
    assert not any(line.startswith("FORGED") for line in lines)
    if "[bold]x[/]" in words[-1]:
        assert "[bold]x[/] [/x] :smile:" in text
    assert place.forbidden() == before
    assert not list(tmp_path.rglob("dr-pwned"))
    in_json = dr(place.shelf, words[0], "--json", *words[1:]) if words[0] == "report" else None
    if in_json is not None and in_json.stdout:
        assert json.loads(in_json.stdout)["error"]["code"]
        assert in_json.stdout.isascii()
    seen(f"exit {said.returncode}: {lines[0] if lines else ''}")


@pytest.mark.parametrize(
    ("words", "command", "status"),
    [
        (["backup", "now", "nosuch"], "backup now", 2),
        (["keys", "backup", "confirm"], "keys backup confirm", 2),
        (["keys", "backup", "confirm", "--by", "a person"], "keys backup confirm", 5),
        (["release", "x"], "release", 2),
    ],
)
def test_a_program_is_told_in_the_envelope_what_was_wrong_with_its_words(
    tmp_path: Path, words: list[str], command: str, status: int
) -> None:
    said = dr(tmp_path, *words, "--json")
    assert said.returncode == status, said
    told = json.loads(said.stdout)
    assert (told["schema_version"], told["command"]) == (1, command)
    assert told["error"]["what"]
    assert told["error"]["code"]


@pytest.mark.fault("K1")
@pytest.mark.fault("K4")
@pytest.mark.parametrize("place", ["evil.example", "10.0.0.9", "../../x", "host=evil", "/srv/../run", ""])
def test_a_copys_socket_from_history_is_a_directory_and_never_a_host(place: str, seen: Seen) -> None:
    """F-K1, F-K4: the place of the copy in an order taken from history, which libpq may take for a host."""
    copy = Copy(
        container="dr-x-copy",
        volume="v",
        socket_dir=place,
        user="postgres",
        database="d",
        timeline=1,
        replayed_lsn="0/1",
    )
    with pytest.raises(Refused) as refused, Sql(untouched()).copy(copy):
        pass
    assert refused.value.code == "path-escapes"
    seen(refused.value.what)
