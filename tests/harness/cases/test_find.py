"""Cases by name, by file, by folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from lockstep.harness.cases.find import find_cases, shipped
from lockstep.harness.errors import CaseError

CASES = Path(str(files("lockstep.cases")))
TEXT = "[lstm]\ninput_size = 2\nhidden_size = 2\n[run]\ntimesteps = 2\n"


def names(found):
    return [one.case.name for one in found]


def test_the_shipped_cases_are_those_of_the_issue():
    expected = {"ones", "ones-state", "probe", "long", "wide", "batch", "saturated", "tiny", "one-timestep", "one-unit"}
    assert expected <= set(shipped())


def test_without_arguments_all_shipped_cases_are_found():
    assert names(find_cases()) == list(shipped())


def test_a_name_a_file_and_a_folder_are_found_each_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(TEXT)
    assert names(find_cases(["ones", str(tmp_path / "b.toml"), str(tmp_path), "ones"])) == ["ones", "b", "a"]


def test_an_unknown_name_is_answered_with_a_guess():
    with pytest.raises(CaseError, match=r'"probes".*Did you mean "probe"'):
        find_cases(["probes"])


def test_two_cases_of_one_name_are_refused_with_both_files(tmp_path):
    (tmp_path / "ones.toml").write_text(TEXT)
    with pytest.raises(CaseError, match=r'two cases are called "ones".*ones\.toml and .*ones\.toml.*Rename'):
        find_cases(["ones", str(tmp_path / "ones.toml")])


def test_an_empty_folder_holds_no_case(tmp_path):
    with pytest.raises(CaseError, match="no case"):
        find_cases([str(tmp_path)])


@pytest.mark.parametrize("argument", ["absent.toml", "some/where", "a\0b", "x" * 5000])
def test_what_is_neither_ends_in_one_message(argument):
    with pytest.raises(CaseError):
        find_cases([argument])
