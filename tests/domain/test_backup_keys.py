"""Keys of backups: for their owner alone, never lost by a rotation, and confirmed by a person."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.backup_keys import BackupKeys
from domain.backup_keys import key_text, read_key
from domain.errors import Refused
from domain.sealing import BackupKey
from starter import backup_keys

NOW = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
LATER = datetime(2026, 9, 1, tzinfo=UTC)


def test_a_new_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path)
    made = keys.new(NOW)
    path = keys.directory / f"{made.id}.key"
    assert keys.directory == tmp_path / "keys" / "backup"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.directory.stat().st_mode & 0o777 == 0o700
    assert keys.current().id == made.id
    assert made.made_at == NOW


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path)
    old, new = keys.new(NOW), keys.new(LATER)
    assert keys.current().id == new.id
    assert keys.find(old.id).id == old.id
    assert [one.id for one in keys.known()] == [new.id, old.id]


def test_without_a_key_nothing_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="backup-key-missing"):
        BackupKeys(tmp_path).current()
    for key_id in ("0123456789abcdef", "../../etc/passwd", ""):
        with pytest.raises(Refused, match="backup-key-missing"):
            BackupKeys(tmp_path).find(key_id)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    keys = BackupKeys(tmp_path)
    made = keys.new(NOW)
    (keys.directory / f"{made.id}.key").chmod(mode)
    with pytest.raises(Refused, match="key-exposed"):
        keys.current()
    proof = keys.proof()
    assert proof.passed is False
    assert "others can read" in proof.evidence


@pytest.mark.mutant("M16")
def test_a_file_with_another_key_in_it_is_no_key(tmp_path: Path) -> None:
    """M16: the file is there and its name is right, but it holds another key."""
    keys = BackupKeys(tmp_path)
    old, new = keys.new(NOW), keys.new(LATER)
    path = keys.directory / f"{old.id}.key"
    path.write_text((keys.directory / f"{new.id}.key").read_text())
    with pytest.raises(Refused, match="backup-key-wrong"):
        keys.find(old.id)


def test_an_edited_key_is_not_used_and_not_repeated(tmp_path: Path) -> None:
    key = BackupKey(b"x" * 32)
    text = key_text(key, NOW)
    assert read_key(text, "here") == (key, NOW)
    secret = text.rsplit(":", 1)[1].strip()
    for broken in (text.replace("eHh4", "eHh5", 1), text[:-5], "", "a key", text.replace(":1:", ":2:")):
        with pytest.raises(Refused) as refused:
            read_key(broken, "here")
        assert secret[:12] not in str(refused.value)
        assert refused.value.code in {"backup-key-unusable", "backup-key-wrong"}


def test_a_link_in_the_place_of_a_key_is_not_followed(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path / "state")
    made = keys.new(NOW)
    path = keys.directory / f"{made.id}.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="backup-key-file"):
        keys.find(made.id)


def test_the_doctor_is_red_until_somebody_keeps_each_key_elsewhere(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path)
    assert keys.proof().passed is True
    assert "dr keys backup new" in keys.proof().evidence
    old = keys.new(NOW)
    assert keys.proof().passed is False
    assert old.id in keys.proof().evidence
    said = keys.confirm(old.id, "one person", LATER)
    assert (said.confirmed_by, said.confirmed_at) == ("one person", LATER)
    assert keys.proof().passed is True
    new = keys.new(LATER)
    red = keys.proof()
    assert red.passed is False
    assert new.id in red.evidence
    assert old.id not in red.evidence


def test_a_confirmation_needs_a_name_and_a_key(tmp_path: Path) -> None:
    keys = BackupKeys(tmp_path)
    made = keys.new(NOW)
    with pytest.raises(Refused, match="name-unusable"):
        keys.confirm(made.id, "  ", NOW)
    with pytest.raises(Refused, match="backup-key-missing"):
        keys.confirm("0123456789abcdef", "one person", NOW)


def test_the_commands_make_list_and_confirm_and_show_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path))
    backup_keys.new(as_json=True)
    made = json.loads(capsys.readouterr().out)["data"]
    backup_keys.list_(as_json=True)
    (listed,) = json.loads(capsys.readouterr().out)["data"]
    assert listed == made
    assert listed["confirmed_at"] is None
    backup_keys.confirm("", by="one person", as_json=True)
    said = json.loads(capsys.readouterr().out)["data"]
    assert (said["id"], said["confirmed_by"]) == (made["id"], "one person")
    backup_keys.new(as_json=False)
    backup_keys.list_(as_json=False)
    shown = capsys.readouterr()
    for path in BackupKeys(tmp_path).directory.glob("*.key"):
        assert path.read_text().rsplit(":", 1)[1].strip() not in shown.out + shown.err


def test_nobody_can_confirm_what_was_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_STATE", str(tmp_path))
    with pytest.raises(Refused, match="backup-key-missing"):
        backup_keys.confirm("", by="one person", as_json=False)
