"""What a dead attempt had written of a file goes away with the next one; what is being written stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from activities import plain_files
from activities.records import Records

HEX = "0123456789abcdef"


def replaced(directory: Path) -> None:
    plain_files.replace(directory / "dr.json", b"{}")


def recorded(directory: Path) -> None:
    Records(directory.parent).write(directory.name, "dr", {})


def recorded_once(directory: Path) -> None:
    Records(directory.parent).write_once(directory.name, "dr", {})


KINDS = pytest.mark.parametrize(
    ("write", "draft", "other"),
    [
        (replaced, ".dr.json.01234567.new", ".other.json.01234567.new"),
        (recorded, f"dr.{HEX}{HEX}", f"dr2.{HEX}{HEX}"),
        (recorded_once, f"dr.{HEX}{HEX}", f"dr2.{HEX}{HEX}"),
    ],
    ids=["file", "record", "record made once"],
)


@KINDS
def test_the_draft_of_a_dead_attempt_is_removed_and_nothing_beside_it(
    tmp_path: Path, write: Callable[[Path], None], draft: str, other: str
) -> None:
    for name in (draft, other, f"{draft}.kept"):
        (tmp_path / name).write_bytes(b"half of it")
    write(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(["dr.json", other, f"{draft}.kept"])


def test_a_draft_that_is_still_written_stays_and_gets_its_name(tmp_path: Path) -> None:
    with plain_files.written(tmp_path / "dr.json") as file:
        file.write(b"the later one")
        plain_files.replace(tmp_path / "dr.json", b"the earlier one")
        assert (tmp_path / "dr.json").read_bytes() == b"the earlier one"
    assert (tmp_path / "dr.json").read_bytes() == b"the later one"
    assert [path.name for path in tmp_path.iterdir()] == ["dr.json"]


def test_a_link_in_the_place_of_a_draft_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"of somebody else")
    (tmp_path / ".dr.json.01234567.new").symlink_to(tmp_path / "elsewhere")
    plain_files.replace(tmp_path / "dr.json", b"{}")
    assert (tmp_path / "elsewhere").read_bytes() == b"of somebody else"
