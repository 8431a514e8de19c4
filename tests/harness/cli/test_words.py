"""Words that are plain to read: the call is the one that cyclopts makes of them, and all else is left to it."""

from __future__ import annotations

import inspect
import re
import shlex
from functools import partial
from pathlib import Path

import cyclopts
import pytest

from lockstep.harness.cli.app import app
from lockstep.harness.cli.commands import COMMANDS
from lockstep.harness.cli.outputs import DetailedOutputs
from lockstep.harness.cli.words import plain_call

PAGES = [*Path(__file__).parents[3].glob("docs/**/*.md"), Path(__file__).parents[3] / "README.md"]


def written():
    """The commands of all pages, word by word."""
    shown = re.compile(r"(?:^\$ |`)lockstep ([^`\n]+)", re.MULTILINE)
    lines = {line for page in PAGES for line in shown.findall(page.read_text("utf-8"))}
    for line in sorted(lines):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words and words[0] in COMMANDS and not {"|", ">", "&&"} & set(words):
            yield words


def by_cyclopts(words):
    """The arguments as cyclopts reads them, or what is wrong."""
    try:
        _, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        return str(error)
    return dict(bound.arguments)


def plainly(words):
    """The arguments of the call that plain words ask for; None where they are left to cyclopts."""
    call = plain_call(words)
    if call is None:
        return None
    assert isinstance(call, partial)
    return dict(inspect.signature(call.func).bind(*call.args, **call.keywords).arguments)


def test_commands_of_all_pages_are_read_as_cyclopts_reads_them():
    commands = list(written())
    assert len(commands) > 80
    read = {" ".join(words): plainly(words) for words in commands}
    for words in commands:
        assert read[" ".join(words)] in (None, by_cyclopts(words)), words
    # Most are plain: of what is left to cyclopts many are groups, help, or wrong on purpose.
    assert sum(arguments is not None for arguments in read.values()) > 0.6 * len(read)


@pytest.mark.parametrize(
    "line",
    [
        "check my.py:port --case ones --case tiny --limit 5 --seed 3 --quiet",
        "check my.py:port ones tiny -q --json out.json",
        "run ones --backend torch_lstm --all --cached --jobs 2 --timeout 2.5",
        "compare traces --against older",
    ],
)
def test_words_are_read_alike(line):
    words = line.split()
    assert plainly(words) == by_cyclopts(words)


@pytest.mark.parametrize(
    "line",
    [
        "check --help",
        "check --target my.py:port --strict-dtype",
        "check my.py:port --seed -1",
        "check my.py:port --seed 1e3",
        "check my.py:port --seed 1 --seed 2",
        "check my.py:port --json -",
        "check my.py:port --json=out.json",
        "check my.py:port --case",
        "check my.py:port --lenient",
        "run --no-cached",
        "cases --case",
        "report",
        "convert IN OUT --from torch",
        "new port my.py",
        "nothing",
        "",
    ],
)
def test_what_is_not_plain_is_left_to_cyclopts(line):
    assert plain_call(line.split()) is None


def test_options_of_several_commands_are_read_into_their_fields():
    arguments = plainly(["check", "my.py:port", "ones", "-q", "--html", "out", "--details"])
    assert arguments is not None
    assert arguments["outputs"] == DetailedOutputs(html=Path("out"), quiet=True, details=True)
    assert (arguments["target"], arguments["cases"]) == ("my.py:port", ("ones",))


def test_cyclopts_shows_the_help_of_each_option():
    (shown,) = [part for part in app["check"].assemble_argument_collection() if "--case" in part.names]
    assert "may be repeated" in (shown.parameter.help or "")
