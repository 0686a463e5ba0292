"""What import-linter checks, and what it cannot see."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.tree import PACKAGES, ROOT, python_files

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
SYSTEMS = ("redis", "objects", "search", "hasura", "auth", "postgres", "proxy")
CLOCKS = {"now", "utcnow", "today"}
# Set-up and lab are programs of their own; the product reads its settings in one place.
READERS_OF_THE_ENVIRONMENT = {"worker/settings.py"}


def contracts() -> dict[str, dict[str, object]]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {one["id"]: one for one in content["tool"]["importlinter"]["contracts"]}


def test_the_import_contracts_hold() -> None:
    answer = subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_broken_contract_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "domain"
    package.mkdir()
    (package / "__init__.py").write_text("import os\n")
    rule = contracts()["domain-pure"]
    (tmp_path / "rules.toml").write_text(
        "[tool.importlinter]\nroot_packages = ['domain']\ninclude_external_packages = true\n"
        "[[tool.importlinter.contracts]]\nname = 'pure'\ntype = 'forbidden'\nsource_modules = ['domain']\n"
        f"forbidden_modules = {rule['forbidden_modules']}\n"
    )
    answer = subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache", "--config", "rules.toml"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "domain is not allowed to import os" in answer.stdout


def test_every_system_that_is_there_is_in_the_contract_of_independence() -> None:
    there = {
        f"activities.{system}"
        for system in SYSTEMS
        if (ROOT / "activities" / f"{system}.py").exists() or (ROOT / "activities" / system).is_dir()
    }
    listed = contracts()["systems-independent"]["modules"]
    assert isinstance(listed, list)
    assert there == set(listed)


@pytest.mark.parametrize("path", python_files("domain"), ids=lambda path: path.name)
def test_the_domain_reads_no_clock(path: Path) -> None:
    calls = [
        f"line {node.lineno}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    assert not calls


def test_only_the_settings_read_the_environment() -> None:
    product = [package for package in PACKAGES if package != "infra"]
    readers = {
        str(path.relative_to(ROOT))
        for path in python_files(*product)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv", "putenv"}
    }
    assert readers <= READERS_OF_THE_ENVIRONMENT
