"""A report as HTML, Markdown, YAML and JSON."""

import json
import unicodedata
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from activities.report_page.drawing import draw
from activities.report_page.inert import (
    clock,
    code,
    duration,
    markdown,
    moment,
    shown,
    size,
    tied,
    web_address,
)
from activities.report_page.tiles import losses, tiles
from domain.recovery import Proof
from domain.report import Report

_PROOF_ORDER = {False: 0, None: 1, True: 2}
_OUTCOMES = {
    "recovered": "Recovered",
    "stood_down": "Stood down",
    "aborted": "Aborted",
    "needs_human": "Needs a person",
    "open": "Open",
}
_MODES = {
    "real": "",
    "drill": "Drill: this ran against a drill stack, broken on purpose.",
    "plan": "Plan: only the steps that look were carried out. Nothing was changed.",
}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2"]),
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock,
        "code": code,
        "duration": duration,
        "md": markdown,
        "moment": moment,
        "size": size,
        "tied": tied,
        "web_address": web_address,
    }
    return environment


_TEMPLATES = _environment()


def as_html(report: Report) -> str:
    """Return one self-contained page: no script, nothing fetched from elsewhere."""
    return _TEMPLATES.get_template("page.html.j2").render(_context(report), drawing=draw(report))


def as_markdown(report: Report) -> str:
    """Return the same content as Markdown, for a wiki or a chat."""
    return _TEMPLATES.get_template("report.md.j2").render(_context(report))


def as_json(report: Report) -> str:
    """Return the report for programs, in ASCII, so that no terminal can be moved by showing it."""
    return json.dumps(json.loads(report.model_dump_json()), indent=2) + "\n"


def as_yaml(report: Report) -> str:
    """Return the report as YAML; letters stay as they are where no invisible character is among them."""
    values = json.loads(report.model_dump_json())
    readable = all(not _hidden(c) for c in json.dumps(values, ensure_ascii=False))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=readable, width=110)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _context(report: Report) -> dict[str, object]:
    checks = sorted(report.checks, key=lambda proof: _PROOF_ORDER[proof.passed])
    return {
        "report": report,
        "outcome": _OUTCOMES[report.outcome],
        "mode_notice": _MODES[report.mode],
        "tiles": tiles(report),
        "losses": losses(report),
        "checks": [(proof, _verdict(proof)) for proof in checks],
        "passed": sum(proof.passed is True for proof in checks),
        "failed": sum(proof.passed is False for proof in checks),
        "unmade": sum(proof.passed is None for proof in checks),
        "skipped": [step for step in report.steps if step.outcome == "skipped"],
    }


def _verdict(proof: Proof) -> tuple[str, str]:
    """Return the style and the words for a check."""
    if proof.passed is None:
        return "unknown", "not measured"
    return ("met", "passed") if proof.passed else ("missed", "failed")
