"""What must not be in the repository, and what must."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tests.architecture.tree import PACKAGES, ROOT, python_files, tracked

LOCK = ROOT / "requirements.lock"
# A registry, a mirror or a proxy that is written down works on one machine and leaks it to all the others.
# Built of parts, so that this file does not hold what it looks for.
ADDRESSES = re.compile(
    "|".join(
        (
            r"--(extra-)?" + r"index-url[= ]",
            r"--find-" + r"links",
            r"PIP_" + r"INDEX_URL",
            r"UV_(DEFAULT_)?" + r"INDEX",
            r"GOPROXY" + r"=",
            r"https?://[a-z0-9.-]*(pypi|pythonhosted)" + r"\.org",
            r"https?://(deb|ftp[a-z0-9.]*|security|archive|snapshot)" + r"\.debian\.org",
            r"https?://proxy" + r"\.golang\.org",
        )
    )
)
PRIVATE_KEY = re.compile("-----BEGIN [A-Z ]*" + "PRIVATE KEY-----")
TEXT_LIMIT_BYTES = 2_000_000


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        content = path.read_bytes()
        if len(content) <= TEXT_LIMIT_BYTES and b"\0" not in content:
            found.append((path, content.decode("utf-8", errors="replace")))
    return found


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_address_of_a_registry_is_written_down() -> None:
    assert not places(ADDRESSES)


def test_no_private_key_is_written_down() -> None:
    assert not places(PRIVATE_KEY)


@pytest.mark.parametrize("lock", [LOCK, ROOT / "infra" / "setup" / "uv.lock.txt"], ids=lambda path: path.name)
def test_every_locked_package_has_one_version_and_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^ *#.*\n", "", lock.read_text(encoding="utf-8")))
    assert entries
    for entry in entries:
        assert re.match(r"^[a-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_everything_that_is_asked_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["embedded"],
        *project["build-system"]["requires"],
        *(ROOT / "requirements.in").read_text(encoding="utf-8").splitlines(),
    ]
    names = {
        match.group().lower()
        for line in wanted
        if not line.startswith("#") and (match := re.match(r"[A-Za-z0-9_.-]+", line))
    }
    locked = set(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", LOCK.read_text(encoding="utf-8")))
    assert names <= locked


def test_uv_has_one_version_in_both_locks() -> None:
    pinned = (ROOT / "infra" / "setup" / "uv.lock.txt").read_text(encoding="utf-8").split(" ")[0]
    assert f"\n{pinned} " in LOCK.read_text(encoding="utf-8")


def test_every_ignored_rule_has_its_reason() -> None:
    bare = []
    for path in python_files(*PACKAGES):
        lines = ["", *path.read_text(encoding="utf-8").splitlines()]
        bare += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, (above, line) in enumerate(pairwise(lines), 1)
            # The reason stands behind the codes, or in a comment of its own on the line above.
            if re.search(r"# noqa(: [A-Z0-9, ]+)?$", line.rstrip()) and not above.lstrip().startswith("#")
        ]
    assert not bare
