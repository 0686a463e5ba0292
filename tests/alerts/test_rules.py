"""The alert rules, as Prometheus' own checker judges them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.backup_metrics import BackupMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infra" / "alerts" / "dr.rules.yaml"
CASES = [Path(__file__).with_name(name) for name in ("dr.rules.test.yaml", "dr.rules.days.test.yaml")]
OTHERS = {
    "dr_objective_seconds",
    "dr_recovery_open",
    "dr_recovery_outcome_total",
    "dr_gate_waiting_seconds",
}
"""Metrics of runs, which other tests know."""


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: the bootstrap installs Debian's prometheus where tests are run")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=120, check=False)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_understands_every_rule() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.name)
def test_every_alert_fires_on_what_it_is_for_and_its_twin_when_the_series_is_gone(cases: Path) -> None:
    done = promtool("test", "rules", str(cases))
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_without_a_case_of_its_own() -> None:
    text = "".join(cases.read_text() for cases in CASES)
    assert [rule["alert"] for rule in rules() if rule["alert"] not in text] == []


def test_every_alert_speaks_of_a_metric_that_there_is(tmp_path: Path) -> None:
    collector = BackupMetrics({}, tmp_path, None)  # type: ignore[arg-type]  # without a stack nothing is asked
    known = {family.name for family in collector.collect()} | OTHERS
    known |= {f"{name}_total" for name in known}
    said = {name for rule in rules() for name in re.findall(r"\bdr_[a-z_]+", rule["expr"])}
    assert said <= known


def test_every_metric_of_backups_has_a_rule_for_its_absence(tmp_path: Path) -> None:
    twins = " ".join(
        re.sub(r"^.*?(?=absent|unless)", "", rule["expr"])
        for rule in rules()
        if "absent(" in rule["expr"] or " unless " in rule["expr"]
    )
    collector = BackupMetrics({}, tmp_path, None)  # type: ignore[arg-type]  # without a stack nothing is asked
    assert [family.name for family in collector.collect() if family.name not in twins] == []
