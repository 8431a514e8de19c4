"""What ``lockstep`` and ``lockstep --help`` say, made without a command or the library that reads their words."""

from __future__ import annotations

import textwrap
from importlib.util import find_spec

from lockstep.harness.cli.commands import COMMANDS

PURPOSE = "Run one LSTM through many frameworks and compare it at every timestep."

# What people come with, the question they have, and the command that answers it: a line each, 80 columns wide.
QUESTIONS = """\
my code       where does it differ, and why?   lockstep check my_lstm.py:port
my file       did the export keep the LSTM?    lockstep run --model my.onnx
my model      which ways of export keep it?    lockstep export my_model.py:make
my numbers    are they right, and if not why?  lockstep explain dump.npz
my weights    how are they stored elsewhere?   lockstep convert --help
my framework  does it compute as it should?    lockstep run
my tests      fail where my code differs       in pytest: lockstep.check(port)

Nothing written yet? lockstep new port my_lstm.py --from torch
All commands: lockstep --help"""

_WIDTH = 80
_OPTIONS = {
    "--help (-h)": "Show this, or after a command what it takes.",
    "--no-color": "Print without colors, as NO_COLOR=1 does.",
    "--version": "Show the version.",
}


def overview() -> str:
    """The text of ``lockstep --help``: each command with the first line of its docstring."""
    commands = {name: _summary(home) for name, home in COMMANDS.items()}
    options = _OPTIONS | {name: text for name, text in commands.items() if name.startswith("-")}
    listed = {"Commands": {name: text for name, text in commands.items() if name not in options}, "Options": options}
    parts = [f"{title}:\n{_rows(rows)}" for title, rows in listed.items()]
    return "\n\n".join(
        ["Usage: lockstep COMMAND [OPTIONS]", PURPOSE, *parts, "What a command takes: lockstep COMMAND --help"]
    )


def _rows(texts: dict[str, str]) -> str:
    margin = max(map(len, texts)) + 4
    return "\n".join(
        textwrap.fill(text, _WIDTH, initial_indent=f"  {name}".ljust(margin), subsequent_indent=" " * margin)
        for name, text in sorted(texts.items())
    )


def _summary(home: str) -> str:
    """The first line of a command's docstring, out of its compiled module: running that would import all it needs."""
    module, _, function = home.partition(":")
    spec = find_spec(f"lockstep.harness.cli.{module}")
    code = spec.loader.get_code(spec.name)  # type: ignore[union-attr] (it is a file of ours)
    bodies = {getattr(part, "co_name", None): part for part in code.co_consts}
    docstring = bodies.get(function, code).co_consts[0]  # a command that is several has its module's
    return docstring.partition("\n")[0] if isinstance(docstring, str) else ""  # Python may run without docstrings
