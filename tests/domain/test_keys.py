"""Keys of people: made for their owner alone, and used only while nobody else can read them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from domain.approval import Decision, Situation, Verb
from domain.errors import Refused
from domain.gates import Approver
from domain.judgement import is_signed
from starter import keys


def made(tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str = "one person") -> tuple[Path, Approver]:
    path = tmp_path / "keys" / "one.key"
    keys.new(by=by, out=path, as_json=False)
    (line,) = yaml.safe_load(capsys.readouterr().out)
    return path, Approver.model_validate(line)


def test_a_new_key_is_for_its_owner_alone_and_prints_the_line_for_the_stack_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, person = made(tmp_path, capsys, by='O"Neil: {x}')
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert person.name == 'O"Neil: {x}'
    assert person.key.startswith("ed25519:")
    assert person.key.removeprefix("ed25519:") not in path.read_text()


def test_a_key_is_never_written_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = made(tmp_path, capsys)
    before = path.read_bytes()
    with pytest.raises(Refused, match="key-exists"):
        keys.new(by="one person", out=path, as_json=False)
    assert path.read_bytes() == before


def test_a_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        keys.new(by="one person", out=tmp_path / "link.key", as_json=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    path, _ = made(tmp_path, capsys)
    path.chmod(mode)
    with pytest.raises(Refused, match="key-exposed"):
        keys.signed(Decision(verb=Verb.APPROVE, by="one person"), "run-1", path, timedelta(hours=1))


def test_what_is_signed_with_a_key_is_proven_by_the_printed_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, person = made(tmp_path, capsys)
    keys.sign(
        Verb.APPROVE,
        key=path,
        by="one person",
        stack="",
        reason="it is time",
        run="run-1",
        gate="swap",
        digest="d1",
        expires="30m",
        as_json=False,
    )
    message = json.loads(capsys.readouterr().out)
    now = Situation(at=datetime.now(UTC), run_id="run-1", keys={person.name: (person.key,)})
    said = Decision.model_validate(message | {"verb": "approve"})
    assert is_signed(said, now)
    assert not is_signed(said, now.model_copy(update={"run_id": "run-2"}))
    assert not is_signed(said, now.model_copy(update={"at": now.at + timedelta(minutes=31)}))


@pytest.mark.parametrize("life", ["0s", "25h", "soon", ""])
def test_a_signature_that_could_be_kept_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], life: str
) -> None:
    path, _ = made(tmp_path, capsys)
    with pytest.raises(Refused, match="life-unusable"):
        keys.signed(Decision(verb=Verb.APPROVE, by="one person"), "run-1", path, keys.life_of(life))


def test_a_reason_that_no_run_would_take_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Refused, match="reason: "):
        keys.decision(verb="abort", by="one person", reason="x" * 3000)
