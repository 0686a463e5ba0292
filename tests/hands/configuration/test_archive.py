"""Archives that somebody made to lead out of their directory, or to fill memory."""

import io
import tarfile
from pathlib import Path

import pytest

from activities import configuration_archive
from activities.configuration_archive import LIMIT_MEMBERS, Member, pack, unpack, write_out
from domain.errors import BackupUnusable
from tests.faults.record import Seen


def archived(*entries: tuple[str, bytes | None, int, str]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, kind, size, link in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.linkname = size, link
            if kind is not None:
                entry.type = kind
            archive.addfile(entry, io.BytesIO(b"x" * size) if size else None)
    return held.getvalue()


def link(name: str, text: str) -> tuple[str, bytes, int, str]:
    return name, tarfile.SYMTYPE, 0, text


def claimed(size: int) -> bytes:
    """Return an archive whose one member says that it is larger than the archive."""
    entry = tarfile.TarInfo("large")
    entry.size = size
    return entry.tobuf() + b"x" * 512


HOSTILE = {
    "above": archived(("../../etc/x", None, 1, "")),
    "inside": archived(("a/../../x", None, 1, "")),
    "absolute": archived(("/etc/x", None, 1, "")),
    "device": archived(("dev", tarfile.CHRTYPE, 0, "")),
    "pipe": archived(("pipe", tarfile.FIFOTYPE, 0, "")),
    "symlink": archived(("project/link", tarfile.SYMTYPE, 0, "/etc/shadow")),
    "symlink out": archived(link("project/a/link", "../../../etc/shadow"), ("project/a/x", None, 1, "")),
    "symlink out and in": archived(link("project/link", "../project/x"), ("project/x", None, 1, "")),
    "symlink beside": archived(link("project/link", "../secrets.json"), ("secrets.json", None, 1, "")),
    "symlink elsewhere": archived(link("other/link", "x"), ("other/x", None, 1, "")),
    "symlink to nothing": archived(link("project/link", "x")),
    "symlink to itself": archived(link("project/link", "link")),
    "symlinks in a circle": archived(link("project/a", "b"), link("project/b", "a")),
    "through a symlink": archived(
        link("project/a", "b"), ("project/b/x", None, 1, ""), ("project/a/y", None, 1, "")
    ),
    "through a file": archived(("project/a", None, 1, ""), ("project/a/y", None, 1, "")),
    "symlink without a text": archived(link("project/link", "")),
    "symlink with a control character": archived(link("project/link", "a\x1b[2Jb")),
    "hardlink": archived(("file", None, 1, ""), ("link", tarfile.LNKTYPE, 0, "file")),
    "twice": archived(("file", None, 1, ""), ("file", None, 1, "")),
    "control": archived(("a\x1b[2Jb", None, 1, "")),
    "deep": archived(("/".join("a" * 60), None, 1, "")),
    "many": archived(*((f"f{n}", None, 0, "") for n in range(LIMIT_MEMBERS + 1))),
    "large": claimed(1 << 40),
    "cut off": claimed(4096),
    "text": b"no archive at all" * 100,
}


@pytest.mark.fault("K7")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_leads_elsewhere_or_has_no_end_is_refused_whole(what: str, seen: Seen) -> None:
    """F-K7: tar member ../../etc/x, device or link member, more members and bytes than there can be."""
    with pytest.raises(BackupUnusable) as error:
        unpack(HOSTILE[what])
    seen(f"{what}: {error.value.what}")
    assert error.value.code == "archive-unusable"


def test_what_was_packed_comes_back_and_the_same_members_give_the_same_bytes() -> None:
    members = {"b/c d.conf": Member(b"two", 0o644), "a": Member(b"", 0o600)}
    packed = pack(members)
    assert unpack(packed) == members
    assert pack(dict(reversed(list(members.items())))) == packed


def test_links_come_back_as_links_beside_what_they_lead_to(tmp_path: Path) -> None:
    members = {
        "project/tls/live/shop/cert.pem": Member(b"../../archive/shop/cert1.pem", 0o755, is_link=True),
        "project/tls/archive/shop/cert1.pem": Member(b"certificate", 0o600),
        "project/now": Member(b"tls/archive", 0o755, is_link=True),
        "project/other": Member(b"now/shop/cert1.pem", 0o755, is_link=True),
    }
    assert unpack(pack(members)) == members
    write_out(members, tmp_path)
    for name in ("tls/live/shop/cert.pem", "other"):
        assert (tmp_path / "project" / name).is_symlink()
        assert (tmp_path / "project" / name).read_text() == "certificate"
    assert (tmp_path / "project/tls/archive/shop/cert1.pem").stat().st_mode & 0o777 == 0o600


def test_files_are_written_below_their_directory_and_never_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    (place / "sub").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        write_out({"sub/file": Member(b"x")}, place)
    assert not any(outside.iterdir())
    (place / "sub").unlink()
    write_out({"sub/file": Member(b"x", 0o4777)}, place)
    assert (place / "sub/file").stat().st_mode & 0o7777 == 0o755
    assert configuration_archive.unpack(pack({"x": Member(b"", 0o4777)}))["x"].mode == 0o755
