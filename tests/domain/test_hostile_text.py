"""Text of others where it is shown: it stays text, on its line, and tells no secret."""

import io
import itertools
import json
import logging
import random
import sys

import pytest
import structlog
import yaml
from rich.console import Console
from rich.text import Text

from activities.postgres.witnesses import damage_in
from activities.report_page.render import as_html, as_json, as_markdown, as_yaml
from activities.scrub import readable, secrets_in, without
from domain.backups import PassedOver
from domain.errors import Unavailable
from domain.inert import LONGEST, markdown, quoted, visible
from domain.recovery import Judged, Proof
from domain.report import DecisionLine, Report
from domain.timeline import StepRecord, Timeline, ask_when_parked, current_details
from starter.answer import answer_error, plain
from tests.faults.record import Seen
from tests.hands.test_reports import SAMPLE, everywhere
from worker import logs

HOSTILE = [
    "a\x00b",
    "one\nFORGED line",
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b2J",
    "abc\u202egnp.exe",
    "zero\u200bwidth\u2066",
    "lone \udcff surrogate",
    "a\rb\u2028c",
]
MARKUP = (
    "{{ 7*7 }} <script>alert(1)</script> ![x](http://evil.example/i.png) [a](javascript:b) =cmd() [bold]x[/]"
)
SECRETS = {
    "connection to postgres://hasura:S3cret-dsn@postgres:5432/nchat failed": "S3cret-dsn",
    "postgres://u:p@ss/w0rd!@host/db": "p@ss/w0rd!",
    "host=x password=S3cret-kv dbname=y": "S3cret-kv",
    'config {"password": "S3cret json"}': "S3cret json",
    "Authorization: Bearer abcdef.123456": "abcdef.123456",
    "redis-server --requirepass S3cret-flag --port 1": "S3cret-flag",
    "sent x-api-key S3cret-header to it": "S3cret-header",
    "HASURA_GRAPHQL_ADMIN_SECRET=S3cret-env": "S3cret-env",
    "MEILI_MASTER_KEY: S3cret-yaml1": "S3cret-yaml1",
    "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF": "eyJhbGciOiJIUzI1NiJ9",
}


@pytest.mark.fault("K6")
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_invisible_characters_are_spelled_out_wherever_a_text_is_quoted(text: str, seen: Seen) -> None:
    """F-K6: NUL, newline, escapes, direction marks and lone surrogates in a text of others."""
    shown = [
        quoted(text),
        Unavailable(text, where=text, hint=text, code="x").what,
        Proof(name=text, passed=False, evidence=text).evidence,
        PassedOver(id=text, reason=text).id,
        Judged(sentence=text, passed=False).sentence,
        DecisionLine(at=SAMPLE.started_at, verb="abort", by=text, counted=True, because=text).because
        if SAMPLE.started_at
        else "",
        Text.from_markup(plain(text)).plain,
    ]
    for one in shown:
        assert one.isprintable(), ascii(one)
        assert one.encode()
    assert quoted(quoted(text)) == quoted(text)
    seen(f"shown as {shown[0]}")


@pytest.mark.fault("K6")
def test_ten_megabytes_are_cut_with_a_word_about_it(seen: Seen) -> None:
    """F-K6: a 10 MB string in a name, a reason or a log line."""
    text = "x" * 10_000_000
    cut = quoted(text)
    assert len(cut) <= LONGEST
    assert cut.endswith("more characters)")
    assert quoted(cut) == cut
    assert len(str(Unavailable(text, where=text, hint=text, code="x"))) < 4 * LONGEST
    assert len(Judged(sentence=text, passed=True).model_dump_json()) < 2 * LONGEST
    seen(f"{len(text)} characters became {len(cut)}")


@pytest.mark.fault("K6")
@pytest.mark.parametrize("form", ["json", "console"])
def test_one_line_of_the_log_stays_one_line(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """F-K6: newlines and escapes in what is logged."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.set_up(form)
        for text in HOSTILE:
            structlog.get_logger().warning(text, reason=text, facts={text: [text]})
            logging.getLogger("library").warning("it says %s", text)
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2 * len(HOSTILE)
    own = {"\x1b[0m", "\x1b[1m", "\x1b[2m"}
    for line in lines:
        bare = line
        if form == "console":  # the program's own colours
            for code in own | {f"\x1b[{n}m" for n in range(30, 38)}:
                bare = bare.replace(code, "")
        assert bare.isprintable(), ascii(bare)
        assert form == "console" or json.loads(line)
    seen(f"{len(lines)} calls made {len(lines)} lines")


@pytest.mark.fault("K6")
def test_no_value_changes_the_markup_of_a_line_on_the_terminal(seen: Seen) -> None:
    """F-K6: brackets and backslashes that a terminal's markup would read, whatever stands beside them."""
    parts = ["[", "]", "/", "\\", "a", "#", "@", "=", ":smile:", "[bold]", "[/]", "[/x]", "[link=http://x]"]
    chance = random.Random(7)
    for _ in range(20_000):
        one, two = ("".join(chance.choices(parts, k=chance.randint(0, 7))) for _ in range(2))
        line = f"[bold red]{plain(one)}[/] x{plain(two)}]: {plain(two)} {plain(one)}"
        assert Text.from_markup(line, emoji=False).plain == f"{one} x{two}]: {two} {one}"
    seen("20000 pairs of values shown as they are")


def test_an_error_on_the_terminal_is_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=400, emoji=False, highlight=False)
    monkeypatch.setattr("starter.answer.people", console)
    answer_error("x", Unavailable("[/bold] a\nb \x1b[2J", where="[red", hint="]", code="c"), as_json=False)
    assert stream.getvalue().splitlines() == [
        "[/bold] a b \\x1b[2J",
        "  where: [red",
        "  HINT: ]",
        "  code: c",
    ]


@pytest.mark.fault("K8")
def test_markup_in_a_report_is_text_in_every_format(seen: Seen) -> None:
    """F-K8: templates, scripts, Markdown images and formulas in every field of a report."""
    report = everywhere(MARKUP)
    html, page = as_html(report), as_markdown(report)
    assert "<script" not in html
    assert "{{ 7*7 }}" in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    without_code = page.replace("`" + MARKUP.replace("|", "\\|") + "`", "")
    assert "![x](http" not in without_code
    assert "<script>" not in without_code
    assert "49" not in markdown("{{ 7*7 }}")
    read = yaml.safe_load(as_yaml(report))
    assert read["rule"] == MARKUP
    assert json.loads(as_json(report))["rule"] == MARKUP
    assert Report.model_validate(read).rule == MARKUP
    seen("the text stands literally in HTML, Markdown, YAML and JSON")


@pytest.mark.fault("K8")
def test_the_console_of_a_run_shows_a_services_words_literally(seen: Seen) -> None:
    """F-K8: a Markdown image in a log line that a step quotes, shown in the Web UI."""
    line = Timeline(steps=[StepRecord(id="a", title="Start", started_at=SAMPLE.marks[0].at, sentence=MARKUP)])
    for shown in (current_details(line, f"held: {MARKUP}", ""), ask_when_parked("a", MARKUP, skippable=True)):
        assert "](http" not in shown.replace("\\]", "")
        assert "http://" not in shown
        assert "<script" not in shown
        assert "!\\[x\\]" in shown
    seen("no image and no link is left to fetch")


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
def test_what_is_spelled_like_a_secret_is_not_quoted(text: str, secret: str) -> None:
    assert secret not in quoted(text)
    assert secret not in Unavailable(f"last log line: {text}", code="x").what
    assert quoted(quoted(text)) == quoted(text)


@pytest.mark.parametrize(
    "text",
    [
        "the secret container:hasura:HASURA_GRAPHQL_ADMIN_SECRET cannot be read",
        "the secret file:/etc/dr/s3-secret cannot be read",
        "add admin_secret: container:hasura:HASURA_GRAPHQL_ADMIN_SECRET",
        "services.postgres.password: String should match a pattern",
        'password authentication failed for user "postgres"',
        "http://127.0.0.1:8233/namespaces/default/workflows/recovery%2Flab/019a",
        "the greatest token seen for each step",
        "Verification of backups passed: 9 of 10 kinds of backups are there and fresh",
    ],
)
def test_a_sentence_about_secrets_is_left_alone(text: str) -> None:
    assert quoted(text) == text


def test_a_containers_own_secrets_are_taken_out_of_its_log() -> None:
    environment = [
        "POSTGRES_PASSWORD=correct horse",
        "DATABASE_URL=postgres://u:s3cr3t/@x@db/d",
        'JWT_SECRET={"type":"HS256","key":"0123456789abcdef"}',
        "POSTGRES_USER=postgres",
        "PGPASSFILE=/shelf/.pgpass",
    ]
    log = 'said "correct horse" and s3cr3t/@x and 0123456789abcdef of postgres in /shelf/.pgpass'
    assert without(log, secrets_in(environment)) == 'said "***" and *** and *** of postgres in /shelf/.pgpass'


@pytest.mark.timeout(60)
@pytest.mark.fault("K6")
def test_of_an_endless_log_the_end_is_read_and_its_lines_are_cut(seen: Seen) -> None:
    """F-K6: a service that logs gigabytes, in lines on which a pattern would never end."""
    pieces = (b"heap tuple " * 1000 for _ in range(4_000))
    text = readable(itertools.chain(pieces, [b"\nthe last line\n"]))
    assert text.endswith("\nthe last line\n")
    assert max(len(line) for line in text.split("\n")) <= 4000
    assert damage_in(text) is None
    assert readable([]) == ""
    assert readable([b"a\n", b"b"]) == "a\nb"
    seen(f"of 44 MB {len(text)} characters were kept")


def test_a_weak_word_in_the_place_of_a_password_does_not_make_the_log_useless() -> None:
    assert secrets_in(["POSTGRES_PASSWORD=postgres", "REDIS_PASSWORD=123456", "API_TOKEN="]) == set()


def test_visible_text_is_left_as_it_is() -> None:
    for text in ("Jörg über 5 % ja", "日本語", "a\\b `c` {d}"):
        assert visible(text) == text
