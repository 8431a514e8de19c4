"""The README's picture of the house is that of the code, and the house keeps its rules."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter, defaultdict
from functools import cache

import pytest
from running import ROOT

import lockstep

HOUSE = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## The house\n")[2]
PACKAGES = [
    *sorted((ROOT / "harness").glob("*/__init__.py")),
    *(ROOT / part / "__init__.py" for part in ("backends", "cases", "reports")),
]


@cache
def modules():
    """The syntax trees of all modules of the harness by their paths: read once, and only where tests of them run."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "harness").rglob("*.py"))
    }


def test_the_rows_are_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rooms,) = (contract for contract in contracts if contract["type"] == "layers")
    rows = re.findall(r"^    (\S.*?) +[│▼]$", HOUSE, flags=re.MULTILINE)
    assert rows == rooms["layers"]
    assert len(rows) <= 10


def test_a_public_class_or_constant_has_one_home():
    homes = defaultdict(set)
    for path, tree in modules().items():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names = (
                [node.name] if isinstance(node, ast.ClassDef) else [t.id for t in targets if isinstance(t, ast.Name)]
            )
            for name in names:
                if not name.startswith("_"):
                    homes[name].add(path)
    assert homes
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_packages_files_and_functions_stay_small():
    packages = Counter(path.rpartition("/")[0] for path in modules() if not path.endswith("/__init__.py"))
    assert {package: count for package, count in packages.items() if count > 14} == {}
    assert {path: lines for path, tree in modules().items() if (lines := _code_lines(path, tree)) > 420} == {}
    functions = {
        f"{path} {node.name}": node.body[-1].end_lineno - body[0].lineno + 1
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (body := node.body[_has_docstring(node) :])
    }
    assert functions
    assert {name: lines for name, lines in functions.items() if lines > 45} == {}


def _code_lines(path, tree):
    """Lines without blank ones, comments, docstrings, and tables: public constants of several lines."""
    apart = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and _has_docstring(node):
            apart.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            apart.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
    return sum(number not in apart and line.strip()[:1] not in {"", "#"} for number, line in lines)


def _has_docstring(node):
    return ast.get_docstring(node) is not None


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


def test_the_page_on_causes_names_tables_that_there_are():
    text = (ROOT / "docs" / "how-to" / "cause.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+? \| `(\w+\.py)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert {module for module, _ in rows} >= {
        f"{kind}_edits.py" for kind in ("weight", "value", "rule", "back", "error")
    }
    for module, names in rows:
        source = (ROOT / "harness" / "faults" / module).read_text(encoding="utf-8")
        for table in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(def )?{table}\b", source, flags=re.MULTILINE), (module, table)


def test_the_public_names_stand_first_in_the_reference():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    table = text.partition("## The public names")[2].partition("\n## ")[0]
    assert re.findall(r"^\| \[`(\w+)`\]", table, flags=re.MULTILINE) == lockstep.__all__
