"""The configuration of a real Compose project: backed up sealed, judged, opened again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from activities import configuration_archive, entries
from activities.backup_keys import BackupKeys
from activities.configuration_files import Collected
from domain.backups import Level
from domain.configuration import WHOLE, ExtractOrder
from domain.errors import BackupUnusable, Refused
from tests.faults.record import Seen
from tests.hands.configuration.conftest import JWT, TLS, Stand

pytestmark = pytest.mark.timeout(300)


def lacking(stand: Stand) -> str:
    """Back up, judge, and return what is said to be missing."""
    found = stand.verify(stand.back_up())
    assert found.passed is False
    assert found.entry.verified is Level.NONE
    return "; ".join(proof.evidence for proof in found.proofs if proof.passed is False)


def test_a_stack_could_start_from_what_was_kept_and_nothing_of_it_is_in_clear(stand: Stand) -> None:
    entry = stand.back_up()
    assert entry.verified is Level.MANIFEST
    assert entry.key_id == BackupKeys(stand.state).current().id
    found = stand.verify(entry)
    assert found.passed, [proof for proof in found.proofs if not proof.passed]
    assert found.entry.verified is Level.RESTORED
    assert {"db", "web", WHOLE, "Compose files", "services", "images", "secrets", "stack file"} <= {
        proof.name for proof in found.proofs
    }
    assert stand.clear_text() == []
    assert JWT not in found.model_dump_json() + entry.model_dump_json()
    assert not list(Path("/dev/shm").glob(f"*{entry.id}*")), "what was opened in memory is gone"  # noqa: S108 - looked at


def test_what_is_held_names_files_and_variables(stand: Stand) -> None:
    entry = stand.back_up()
    known = entries.find_entry(stand.shelf, entry.id)
    held = {one.name: {sample.name for sample in one.samples} for one in known.held}
    assert {"variable JWT_KEY", "variable MAIL_PASSWORD", "file project/tls/key.pem"} <= held["web"]
    assert {"file project/compose.yaml", "file project/.env", "file stack.yaml"} <= held[WHOLE]
    assert "secret container:web:JWT_KEY" in held[WHOLE]


def test_a_second_call_with_the_same_label_returns_the_first_backup(stand: Stand) -> None:
    assert stand.back_up("nightly").id == stand.back_up("nightly").id
    assert len(entries.read_entries(stand.shelf)[0]) == 1


def test_without_a_key_nothing_is_written(stand: Stand) -> None:
    shutil.rmtree(stand.state / "keys")
    with pytest.raises(Refused) as error:
        stand.back_up()
    assert error.value.code == "backup-key-missing"
    assert "dr keys backup new" in error.value.hint
    assert not [path for path in stand.shelf.rglob("*") if path.is_file()]


def test_an_attempt_that_ends_in_the_middle_leaves_nothing_in_clear(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        message = "killed"
        raise KeyboardInterrupt(message)

    with monkeypatch.context() as patch:
        patch.setattr("activities.sealed_entry.entries.publish", killed)
        patch.setattr("activities.sealed_entry.clear", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            stand.back_up("nightly")
    assert list(stand.shelf.rglob("*.partial")), "it was killed with its partial directory there"
    assert stand.clear_text() == []
    entry = stand.back_up("nightly")
    assert not list(stand.shelf.rglob("*.partial"))
    assert stand.verify(entry).passed


def emptied(path: str) -> Callable[[Stand], None]:
    return lambda stand: (stand.directory / path).unlink()


def unnamed_secret(stand: Stand) -> None:
    file = stand.directory / "stack.yaml"
    file.write_text(file.read_text().replace("container:web:JWT_KEY", "container:web:ANOTHER_KEY"))


def unset_variable(stand: Stand) -> None:
    file = stand.directory / ".env"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("JWT_KEY")))


def without_a_service(stand: Stand) -> None:
    file = stand.directory / "compose.yaml"
    file.write_text(file.read_text().replace("  web:\n", "  other:\n"))


def linked(stand: Stand) -> None:
    file = stand.directory / "tls" / "key.pem"
    file.unlink()
    file.symlink_to("/etc/shadow")


@pytest.mark.fault("C18")
@pytest.mark.parametrize(
    ("remove", "named"),
    [
        (emptied("compose.yaml"), "compose.yaml cannot be kept"),
        (emptied("conf/web.conf"), "web.conf cannot be kept"),
        (emptied("mail.env"), "mail.env"),
        (emptied("stack.yaml"), "stack file"),
        (unset_variable, "the variable JWT_KEY is not set"),
        (emptied(".env"), "IMAGE"),
        (unnamed_secret, "container:web:ANOTHER_KEY"),
        (without_a_service, "web ran"),
        (linked, "key.pem cannot be kept: a symbolic link is not followed"),
    ],
    ids=["compose", "mounted", "env_file", "stack", "variable", "dotenv", "secret", "service", "link"],
)
def test_what_is_missing_in_the_set_is_named_and_is_a_failed_verification(
    stand: Stand, remove: Callable[[Stand], None], named: str, seen: Seen
) -> None:
    """F-C18: secrets, TLS, JWT keys, Compose files not in the set."""
    assert stand.verify(stand.back_up()).passed, "it is complete before"
    remove(stand)
    said = lacking(stand)
    seen(said)
    assert named in said


@pytest.mark.fault("C18")
def test_a_certificate_that_vanished_from_its_directory_is_missed_by_comparing_with_the_last_set(
    stand: Stand, seen: Seen
) -> None:
    """F-C18: TLS not in the set: the directory is still mounted, and empty."""
    before = entries.find_entry(stand.shelf, stand.back_up().id)
    (stand.directory / "tls/key.pem").unlink()
    after = entries.find_entry(stand.shelf, stand.back_up().id)
    names = [
        {s.name for one in entry.held if one.name == "web" for s in one.samples} for entry in (before, after)
    ]
    seen(f"held before and not after: {names[0] - names[1]}")
    assert names[0] - names[1] == {"file project/tls/key.pem"}


@pytest.mark.fault("C11")
def test_a_key_that_is_missing_is_found_by_the_verification(stand: Stand, seen: Seen) -> None:
    """F-C11: encryption key missing."""
    entry = stand.back_up()
    kept = (stand.state / "keys").rename(stand.state / "elsewhere")
    with pytest.raises(Refused) as error:
        stand.verify(entry)
    seen(str(error.value))
    assert error.value.code == "backup-key-missing"
    kept.rename(stand.state / "keys")
    assert stand.verify(entry).passed


def test_a_changed_byte_takes_the_level_away(stand: Stand) -> None:
    entry = stand.back_up()
    file = stand.shelf / entry.path / "configuration.sealed"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(BackupUnusable):
        stand.verify(entry)
    assert entries.find_entry(stand.shelf, entry.id).verified is Level.NONE


def test_bytes_that_agree_with_a_forged_record_do_not_open(stand: Stand) -> None:
    one, two = stand.back_up(), stand.back_up()
    shutil.copy(stand.shelf / two.path / "configuration.sealed", stand.shelf / one.path)
    record = json.loads((stand.shelf / two.path / "dr.json").read_text())
    record |= {"id": one.id, "path": one.path}
    (stand.shelf / one.path / "dr.json").write_text(json.dumps(record))
    with pytest.raises(BackupUnusable):
        stand.verify(one)


def test_data_that_a_service_writes_below_the_directory_are_no_configuration(stand: Stand) -> None:
    for number in range(600):
        (stand.directory / "data" / f"{number}").write_text("row")
    found = stand.verify(stand.back_up())
    assert found.passed
    (files,) = [proof.evidence for proof in found.proofs if proof.name == "files"]
    assert "data holds more than a configuration" in files


def test_a_link_is_never_followed_and_nothing_outside_is_read_because_a_file_names_it(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (outside / "key").write_text("not ours")
    (project / "key").symlink_to(outside / "key")
    (project / "compose.yaml").write_text("services: {web: {env_file: ../outside/key}}")
    found = Collected(str(project))
    found.take_compose(str(project / "compose.yaml"))
    found.take(str(project / "key"))
    assert [member for member in found.members if "key" in member] == []
    assert b"not ours" not in b"".join(member.content for member in found.members.values())
    assert len(found.lacks) == 2


def as_certbot(directory: Path) -> None:
    """Lay certificates out as certbot does: the names that services use are links."""
    for place in ("archive/shop", "live/shop"):
        (directory / place).mkdir(parents=True, exist_ok=True)
    for name in ("fullchain", "privkey"):
        for number in (1, 2):
            (directory / f"archive/shop/{name}{number}.pem").write_text(f"{name} {number} key-of-a-test\n")
        (directory / f"live/shop/{name}.pem").symlink_to(f"../../archive/shop/{name}2.pem")


def test_links_as_certbot_makes_them_are_kept_with_what_they_lead_to(stand: Stand, tmp_path: Path) -> None:
    as_certbot(stand.directory / "tls")
    entry = stand.back_up()
    found = stand.verify(entry)
    assert found.passed, [proof for proof in found.proofs if not proof.passed]
    held = {s.name for one in entries.find_entry(stand.shelf, entry.id).held for s in one.samples}
    assert {"file project/tls/live/shop/privkey.pem", "file project/tls/archive/shop/privkey2.pem"} <= held
    assert stand.clear_text() == []
    to = tmp_path / "opened"
    for _ in range(2):
        stand.extracting().ensure_configuration_extracted(ExtractOrder(target=stand.target, to=str(to)))
    opened = to / "project/tls/live/shop/privkey.pem"
    assert str(opened.readlink()) == "../../archive/shop/privkey2.pem"
    assert opened.read_text() == "privkey 2 key-of-a-test\n"


def test_a_link_that_was_turned_meanwhile_is_not_taken_for_what_was_opened(
    stand: Stand, tmp_path: Path
) -> None:
    as_certbot(stand.directory / "tls")
    stand.back_up()
    to = tmp_path / "opened"
    order = ExtractOrder(target=stand.target, to=str(to))
    stand.extracting().ensure_configuration_extracted(order)
    turned = to / "project/tls/live/shop/privkey.pem"
    turned.unlink()
    turned.symlink_to("../../archive/shop/privkey1.pem")
    with pytest.raises(Refused) as error:
        stand.extracting().ensure_configuration_extracted(order)
    assert error.value.code == "extract-place"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/etc/shadow", "it is absolute"),
        ("../../../outside/key", "it leads out of the project"),
        ("../../../project/compose.yaml", "it leads out of the project"),
        ("../up/key", "it leads out of the project"),
        ("cert.pem", "there is no end of links"),
        ("nothing", "No such file"),
        ("../pipe", "it is no regular file"),
        ("a\x1b[2Jb", "its name could lead elsewhere"),
    ],
)
def test_a_link_that_leads_out_or_nowhere_is_named_and_nothing_behind_it_is_read(
    tmp_path: Path, text: str, why: str
) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    (project / "tls/live").mkdir(parents=True)
    outside.mkdir()
    (outside / "key").write_text("not ours")
    (project / "compose.yaml").write_text("services: {}")
    (project / "tls/up").symlink_to("../../outside")
    os.mkfifo(project / "tls/pipe")
    (project / "tls/live/a\x1b[2Jb").write_text("odd")
    (project / "tls/live/cert.pem").symlink_to(text)
    found = Collected(str(project))
    found.take_mounted(str(project / "tls/live"), writable=False)
    (said,) = [one for one in found.lacks if "cert.pem cannot be kept" in one]
    assert why in said
    assert b"not ours" not in b"".join(member.content for member in found.members.values())
    assert not any(member.is_link for member in found.members.values())
    configuration_archive.unpack(configuration_archive.pack(found.members))


def test_links_to_directories_are_kept_with_what_is_in_them_and_circles_end(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "releases/2").mkdir(parents=True)
    (project / "releases/2/app.conf").write_text("two")
    (project / "releases/2/again").symlink_to(".")
    (project / "releases/2/back").symlink_to("../../site")
    (project / "site").mkdir()
    (project / "site/current").symlink_to("../releases/2")
    (project / "site/index").symlink_to("current/app.conf")
    found = Collected(str(project))
    names = found.take_mounted(str(project / "site"), writable=False)
    assert found.lacks == []
    assert {"project/site/current", "project/site/index", "project/releases/2/app.conf"} <= set(names)
    members = configuration_archive.unpack(configuration_archive.pack(found.members))
    assert members == found.members
    out = tmp_path / "out"
    out.mkdir()
    configuration_archive.write_out(members, out)
    assert (out / "project/site/index").read_text() == "two"
    through = Collected(str(project))
    assert through.take(str(project / "site/current/app.conf")) == "project/releases/2/app.conf"
    assert set(through.members) == {"project/site/current", "project/releases/2/app.conf"}


@pytest.mark.timeout(30)
def test_links_that_fan_out_without_end_are_not_followed_without_end(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for number in range(60):
        (project / f"d{number}").mkdir(parents=True)
        for name in ("a", "b"):
            (project / f"d{number}/{name}").symlink_to(f"../d{number + 1}")
    (project / "d60").mkdir()
    (project / "d60/x").write_text("x")
    found = Collected(str(project))
    found.take_mounted(str(project / "d0"), writable=False)
    configuration_archive.unpack(configuration_archive.pack(found.members))


def test_a_backup_is_opened_into_a_new_directory_that_only_its_owner_enters(
    stand: Stand, tmp_path: Path
) -> None:
    entry, to = stand.back_up(), tmp_path / "opened"
    order = ExtractOrder(target=stand.target, to=str(to))
    for _ in range(2):
        found = stand.extracting().ensure_configuration_extracted(order)
        assert found.directory == str(to)
        assert entry.id in found.sentence
    assert to.stat().st_mode & 0o777 == 0o700
    assert (to / "project/tls/key.pem").read_text() == TLS
    assert (to / "project/tls/key.pem").stat().st_mode & 0o777 == 0o600
    assert json.loads((to / "secrets.json").read_text())["container:web:JWT_KEY"] == JWT
    assert not list(tmp_path.glob(".opened*"))


@pytest.mark.parametrize("place", ["full", "link", "shelf", "below-a-link"])
def test_nothing_is_opened_over_what_is_there_nor_through_a_link(
    stand: Stand, tmp_path: Path, place: str
) -> None:
    stand.back_up()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(elsewhere)
    to = {
        "full": tmp_path / "full",
        "link": tmp_path / "link",
        "shelf": stand.shelf / "opened",
        "below-a-link": tmp_path / "link" / "opened",
    }[place]
    with pytest.raises(Refused) as error:
        stand.extracting().ensure_configuration_extracted(ExtractOrder(target=stand.target, to=str(to)))
    assert error.value.code == "extract-place"
    assert not any(elsewhere.iterdir())
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
