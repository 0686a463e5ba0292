"""The search for secrets finds them however they are spelled, and never tells them."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from activities.secret_scan import found_in, proof_of, scan_files

SECRET = 'p&ss<w0rd>"it\'s" ä/\\'
HIDDEN = {"the password": SECRET}

pytestmark = pytest.mark.mutant("M23")


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps({"a": SECRET}),
        json.dumps({"a": SECRET}, ensure_ascii=False),
        quote(SECRET, safe=""),
        "p&amp;ss&lt;w0rd&gt;&#34;it&#39;s&#34; ä/\\",
        "p&amp;ss&lt;w0rd&gt;&quot;it&#x27;s&quot; ä/\\",
        *(base64.b64encode(("x" * before + SECRET + "tail").encode()).decode() for before in range(3)),
    ],
    ids=["plain", "json", "json in utf-8", "address", "jinja", "html", "base64", "one later", "two later"],
)
def test_a_secret_is_found_however_it_is_spelled(written: str) -> None:
    found = found_in("a log", [b"before ", written.encode(), b" after"], HIDDEN)
    assert [(leak.secret, leak.place) for leak in found.leaks] == [("the password", "a log")]


def test_a_secret_across_two_chunks_is_found() -> None:
    whole = b"x" * 1000 + SECRET.encode() + b"y" * 1000
    assert found_in("a log", [whole[:1005], whole[1005:]], HIDDEN).leaks


def test_what_holds_no_secret_is_clean_and_a_search_for_nothing_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("all is well")
    scanned = scan_files(tmp_path, HIDDEN)
    assert proof_of([scanned], HIDDEN).passed is True
    assert proof_of([scanned], {}).passed is None
    assert proof_of([scanned], {"short": "abc"}).passed is None
    assert proof_of([], HIDDEN).passed is None


def test_a_leak_is_named_without_its_value_and_links_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "reports").mkdir(parents=True)
    outside.write_text(SECRET)
    (root / "link").symlink_to(outside)
    assert scan_files(root, HIDDEN).leaks == ()
    (root / "reports" / "dr.json").write_text(SECRET)
    proof = proof_of([scan_files(root, HIDDEN)], HIDDEN)
    assert proof.passed is False
    assert "the password in reports/dr.json" in proof.evidence
    assert SECRET not in proof.evidence
