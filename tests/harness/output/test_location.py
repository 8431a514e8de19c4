from pathlib import Path

import pytest

from lockstep.harness.comparison.results import Source
from lockstep.harness.output.location import MOST_SOURCE_LINES, source_of_function

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


def test_what_cannot_be_read_has_no_source(file):
    assert source_of_function(file, "none_such") is None
    assert source_of_function(file.with_name("missing.py"), "port") is None


def test_a_very_long_function_is_cut(file):
    file.write_text("def port(x):\n" + "    x += 1\n" * (2 * MOST_SOURCE_LINES))
    source = source_of_function(file, "port")
    assert source is not None
    assert source.text.count("\n") + 1 == MOST_SOURCE_LINES
