"""The README's picture of the house is that of the code."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
from running import ROOT

import lockstep

HOUSE = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## The house\n")[2]
PACKAGES = [
    *sorted((ROOT / "harness").glob("*/__init__.py")),
    *(ROOT / part / "__init__.py" for part in ("backends", "cases", "reports")),
]


def test_the_rows_are_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rooms,) = (contract for contract in contracts if contract["type"] == "layers")
    rows = re.findall(r"^    (\S.*?) +[│▼]$", HOUSE, flags=re.MULTILINE)
    assert rows == rooms["layers"]
    assert len(rows) <= 10


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.parent.name)
def test_each_package_has_its_charter(package):
    charter = ast.get_docstring(ast.parse(package.read_text()))
    assert f"- `{package.parent.relative_to(ROOT).as_posix()}/`: {' '.join(charter.split())}" in " ".join(HOUSE.split())


def test_the_links_are_those_of_the_parts():
    links = {path.name: path.readlink().as_posix() for path in (ROOT / "lockstep").iterdir() if path.is_symlink()}
    assert links == {name: f"../{name}" for name in ("backends", "cases", "harness", "reports")}


def test_contributors_are_sent_to_files_that_exist():
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:harness|backends|cases|reports|tests|docs)/[\w./]*)`", text)
    assert paths
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_the_public_names_stand_first_in_the_reference():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    table = text.partition("## The public names")[2].partition("\n## ")[0]
    assert re.findall(r"^\| \[`(\w+)`\]", table, flags=re.MULTILINE) == lockstep.__all__
