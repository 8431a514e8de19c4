"""The public face: twenty names, each loaded when it is first used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lockstep

FACE = Path(lockstep.__file__)


def test_the_face_has_at_most_twenty_names():
    assert len(lockstep.__all__) <= 20
    assert lockstep.__all__ == sorted(set(lockstep.__all__))
    assert set(lockstep.__all__) == lockstep._HOMES.keys()


@pytest.mark.parametrize("name", lockstep.__all__)
def test_each_name_is_that_of_its_home(name):
    home = f"lockstep.{lockstep._HOMES[name]}"
    assert getattr(lockstep, name) is getattr(sys.modules[home], name)
    assert callable(getattr(lockstep, name))
    assert getattr(lockstep, name).__module__ == home


def test_type_checkers_are_told_the_same_homes():
    (block,) = (node for node in ast.parse(FACE.read_text()).body if isinstance(node, ast.If))
    assert isinstance(block.test, ast.Name)
    assert block.test.id == "TYPE_CHECKING"
    told = {
        alias.name: imported.module
        for imported in block.body
        if isinstance(imported, ast.ImportFrom)
        for alias in imported.names
    }
    assert told == {name: f"lockstep.{home}" for name, home in lockstep._HOMES.items()}


def test_importing_the_face_imports_nothing_but_itself():
    code = "import sys, importlib; before = {*sys.modules}; import lockstep; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lockstep"]


def test_a_name_is_loaded_once_when_it_is_first_used():
    code = "import lockstep; assert 'Case' not in vars(lockstep); lockstep.Case; assert 'Case' in vars(lockstep)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_listed():
    assert set(lockstep.__all__) <= set(dir(lockstep))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lockstep' has no attribute 'asert_agrees'"):
        lockstep.asert_agrees  # noqa: B018 (looking it up is what is tested)
