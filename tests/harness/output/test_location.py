import functools
import math
from pathlib import Path

import pytest
from made_results import made, together
from msgspec.structs import replace

from lockstep.harness.cases.find import find_cases
from lockstep.harness.comparison.results import Source
from lockstep.harness.output.location import MOST_SOURCE_LINES, Places, files_of, source_of, source_of_function

FILE = """\
import functools


def port(x):
    return "an earlier one"


@functools.cache
@functools.wraps(port)
def port(x):
    # why
    return x


other = port
"""


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_the_source_of_a_port_is_its_last_definition_with_decorators(file):
    text = "@functools.cache\n@functools.wraps(port)\ndef port(x):\n    # why\n    return x"
    assert source_of_function(file, "port") == Source("mine.py", 8, text)


def test_a_port_that_is_no_def_has_the_line_that_binds_it(file):
    assert source_of_function(file, "other") == Source("mine.py", 15, "other = port")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\ndef port(): ...\n", 2),
        ("def port(): ...\n\n\n@one\n@two\ndef port(): ...\n", 4),
        ("class A:\n    def port(self): ...\n\nport = A().port\n", 4),
        ("try:\n    from a import b as port\nexcept ImportError:\n    pass\n", 2),
        ("async def port(): ...", 1),
        ("port: int = 3", 1),
        ("from elsewhere import *", 1),
        ("def port(:", 1),
        ("", 1),
    ],
)
def test_the_line_of_a_function_is_where_its_file_defines_it(file, text, line):
    file.write_text(text)
    source = source_of_function(file, "port")
    assert source is not None
    assert source.line == line
    assert source.text.partition("\n")[0] == (text.splitlines() or [""])[line - 1]


def test_what_cannot_be_read_has_no_source(file):
    assert source_of_function(file.with_name("missing.py"), "port") is None


def test_a_very_long_function_is_cut(file):
    file.write_text("def port(x):\n" + "    x += 1\n" * (2 * MOST_SOURCE_LINES))
    source = source_of_function(file, "port")
    assert source is not None
    assert source.text.count("\n") + 1 == MOST_SOURCE_LINES


class Callable:
    def __call__(self):
        """A port that keeps something."""


def function():
    """A port."""


def test_the_source_of_whatever_can_be_called_is_known_where_it_is_of_this_project(monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    folder = Path(__file__).parent
    by_port = {port: source_of(port, folder) for port in (function, functools.partial(function), Callable().__call__)}
    assert {(source.file, source.text.splitlines()[-1].strip(), source.line > 1) for source in by_port.values()} == {
        ("test_location.py", '"""A port."""', True),
        ("test_location.py", '"""A port that keeps something."""', True),
    }
    assert source_of(Callable(), folder).text.startswith("class Callable:")
    assert source_of(lambda: "a port", folder).text.strip().startswith("assert source_of(lambda: ")
    assert source_of(math.sqrt, folder) is None
    assert source_of(pytest.raises, Path("/")) is None  # a library's
    assert source_of(function, folder / "elsewhere") is None


def test_places_are_found_from_a_folder_within_the_root_too(tmp_path, monkeypatch):
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "mine.toml").touch()
    results = replace(
        together(made("mine", "a"), made("mine", "port"), made("ones", "a"), made("gone", "a")),
        files={"mine": "cases/mine.toml"}, sources={"port": Source("src/lstm.py", 7, "")},
    )  # fmt: skip
    for folder in (tmp_path, tmp_path / "cases"):
        monkeypatch.chdir(folder)
        mine, port, shipped, gone = map(Places(results), results.runs)
        assert (mine.path, mine.line, mine.of_port) == (tmp_path / "cases" / "mine.toml", 1, False)
        assert (port.path, port.line, port.of_port) == (folder / "src" / "lstm.py", 7, True)
        assert shipped.path.name == "ones.toml"
        assert gone is None


def test_files_of_cases_are_seen_from_the_checkout(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.toml").write_bytes(find_cases(["square"])[0].path.read_bytes())
    monkeypatch.chdir(tmp_path / "deep")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert files_of(find_cases(["mine.toml", "ones"])) == {"mine": "mine.toml"}
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert files_of(find_cases(["mine.toml"])) == {"mine": "deep/mine.toml"}
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    assert files_of(find_cases(["mine.toml"])) == {"mine": str(tmp_path / "deep" / "mine.toml")}
