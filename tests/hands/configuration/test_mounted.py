"""What services mount from outside the project's directory: kept, or missed by name."""

import json
import os
import socket
from pathlib import Path

import pytest

from activities import configuration_archive
from activities.configuration_files import Collected
from domain.configuration import ExtractOrder
from tests.faults.record import Seen
from tests.hands.configuration.conftest import Stand
from tests.hands.configuration.test_configuration import as_certbot, lacking

pytestmark = pytest.mark.timeout(300)


@pytest.mark.fault("C18")
def test_what_is_mounted_from_outside_is_kept_and_can_be_put_back(
    stand: Stand, tmp_path: Path, seen: Seen
) -> None:
    """F-C18: TLS not in the set: it lies where certbot puts it, and not with the project."""
    place = stand.elsewhere / "letsencrypt"
    as_certbot(place)
    found = stand.verify(stand.back_up())
    assert found.passed, [proof for proof in found.proofs if not proof.passed]
    (said,) = [proof.evidence for proof in found.proofs if proof.name == "files"]
    seen(said)
    assert "8 of them from outside the project's directory" in said
    assert (
        "/etc/localtime (web mounts it at /etc/localtime) lies outside the working directory: it is" in said
    )
    assert f"{stand.elsewhere}/rows (web mounts it at /rows) lies outside" in said
    assert stand.clear_text() == []
    to = tmp_path / "opened"
    stand.extracting().ensure_configuration_extracted(ExtractOrder(target=stand.target, to=str(to)))
    again = Path(f"{to}/outside{place}")
    assert (again / "live/shop/privkey.pem").read_text() == "privkey 2 key-of-a-test\n"
    assert (again / "account.json").read_text() == (place / "account.json").read_text()
    assert Path(f"{to}/outside{stand.elsewhere}/named/settings.conf").is_file(), (
        "a volume bound to a directory"
    )
    kept = json.loads((to / "configuration.json").read_text())
    assert str(place / "account.json") in {one["path"] for one in kept["files"]}


@pytest.mark.fault("C18")
def test_what_is_mounted_from_outside_and_cannot_be_kept_is_missed_until_the_host_provides_it(
    stand: Stand, seen: Seen
) -> None:
    """F-C18: a directory that a service reads, and of which nothing would be there to start from."""
    for number in range(600):
        (stand.elsewhere / "letsencrypt" / f"{number}").write_text("one of many")
    said = lacking(stand)
    seen(said)
    assert "letsencrypt (web mounts it at /etc/letsencrypt) lies outside the working directory" in said
    assert "holds more than a configuration" in said
    assert "backup.provided_by_host" in said
    file = stand.directory / "stack.yaml"
    file.write_text(f"{file.read_text()}backup: {{provided_by_host: [{stand.elsewhere}/letsencrypt/]}}\n")
    found = stand.verify(stand.back_up())
    assert found.passed, [proof for proof in found.proofs if not proof.passed]
    (files,) = [proof.evidence for proof in found.proofs if proof.name == "files"]
    assert "the host provides it, as the stack file says" in files


def collected(tmp_path: Path, *provided: str) -> tuple[Collected, Path]:
    """Return what collects for a project, and a directory beside the project's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "project").mkdir()
    return Collected(str(tmp_path / "project"), provided), outside


@pytest.mark.parametrize("text", ["/etc/shadow", "../../elsewhere/key", "nothing", "../mounted/key"])
def test_a_link_that_leads_out_of_what_is_mounted_is_missed_and_nothing_behind_it_is_read(
    tmp_path: Path, text: str
) -> None:
    found, outside = collected(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/key").write_text("not ours")
    (outside / "mounted").mkdir()
    (outside / "mounted/plain").write_text("ours")
    (outside / "mounted/key").symlink_to(text)
    found.take_mounted(str(outside / "mounted"), writable=False, by="web mounts it at /x")
    (said,) = found.lacks
    assert "web mounts it at /x" in said
    assert "key cannot be kept" in said
    assert not any(member.is_link or b"not ours" in member.content for member in found.members.values())
    configuration_archive.unpack(configuration_archive.pack(found.members))


def test_what_is_itself_behind_a_link_is_missed(tmp_path: Path) -> None:
    found, outside = collected(tmp_path)
    (outside / "real").mkdir()
    (outside / "real/key").write_text("of another place")
    (outside / "linked").symlink_to("real")
    for path in ("linked", "linked/key"):
        found.take_mounted(str(outside / path), writable=False)
    assert len(found.lacks) == 2
    assert found.members == {}


def test_a_directory_that_cannot_be_entered_is_missed_and_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, outside = collected(tmp_path)
    (outside / "mounted/locked").mkdir(parents=True)
    (outside / "mounted/plain").write_text("ours")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found.take_mounted(str(outside / "mounted"), writable=False)
    (said,) = found.lacks
    assert "Permission denied" in said


def test_sockets_are_the_hosts_wherever_they_lie_and_data_that_is_written_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, outside = collected(tmp_path)
    (outside / "sockets").mkdir()
    (outside / "rows").mkdir()
    (outside / "rows/row").write_text("a row")
    monkeypatch.chdir(outside)
    for name in ("one.sock", "sockets/two.sock"):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    for name in ("one.sock", "sockets"):
        assert found.take_mounted(str(outside / name), writable=False) == []
    assert found.take_mounted(str(outside / "rows"), writable=True) == []
    assert found.lacks == []
    assert [one.partition("outside/")[2].split()[0] for one in found.left_out] == [
        "one.sock",
        "sockets",
        "rows",
    ]


def test_a_single_file_is_kept_whether_the_service_may_write_it_or_not(tmp_path: Path) -> None:
    found, outside = collected(tmp_path)
    for name in ("one.conf", "two.conf"):
        (outside / name).write_text(name)
        (member,) = found.take_mounted(str(outside / name), writable=name == "two.conf")
        assert member == f"outside{outside}/{name}"
        assert found.members[member].content == name.encode()
    assert (found.lacks, found.left_out) == ([], [])
    (outside / "large.db").write_bytes(bytes(5 * 1024 * 1024))
    found.take_mounted(str(outside / "large.db"), writable=True)
    assert (found.lacks, len(found.left_out)) == ([], 1), "what is written and large is data"
    found.take_mounted(str(outside / "large.db"), writable=False)
    assert len(found.lacks) == 1
