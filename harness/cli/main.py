"""The command ``lockstep``. Exit status: 0 agree, 1 something diverges, 2 a wrong request, 3 a backend failed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import App, Parameter

from lockstep.harness.cli.commands.adequacy import adequacy
from lockstep.harness.cli.commands.anatomy import anatomy
from lockstep.harness.cli.commands.backends import backends
from lockstep.harness.cli.commands.cases import cases, schema
from lockstep.harness.cli.commands.check import check
from lockstep.harness.cli.commands.compare import compare
from lockstep.harness.cli.commands.explain import explain
from lockstep.harness.cli.commands.findings import findings
from lockstep.harness.cli.commands.models.convert import convert
from lockstep.harness.cli.commands.models.export import export
from lockstep.harness.cli.commands.new import new
from lockstep.harness.cli.commands.record import record
from lockstep.harness.cli.commands.report import report
from lockstep.harness.cli.commands.run import cache, run
from lockstep.harness.cli.commands.search import search
from lockstep.harness.cli.commands.variables import variables
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import INTERRUPTED, complain, console_beside, say

COMMANDS = (
    run, check, explain, new, variables, anatomy, adequacy, record, compare, search, findings, report, convert, export,
    backends, cases, schema, cache,
)  # fmt: skip

app = App(
    name="lockstep",
    help="Run one LSTM through many frameworks and compare it at every timestep.",
    help_format="plaintext",
    version=lambda: version("lockstep-rnn"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=""),  # no --no-quiet and the like
)
for command in COMMANDS:
    app.command(command)

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


# Not cyclopts' own command of this name: it would be imported whenever anything is asked for.
@app.command(name="--install-completion")
def install_completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None,
        Parameter(help="Of which shell; else of the one that runs."),
    ] = None,
    output: Annotated[
        Path | None,
        Parameter(help="Where to write the script; else where that shell finds it, told in its startup file."),
    ] = None,
) -> int:
    """Have bash, zsh, fish or PowerShell complete commands, options and names."""
    from cyclopts.completion import ShellDetectionError

    try:
        script = app.install_completion(shell=shell, output=output, add_to_startup=output is None)
    except ShellDetectionError as error:
        raise LockstepError(
            "--install-completion: cannot tell which shell you use: add for example --shell bash."
        ) from error
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error
    say(console_beside(), f"{script} is written. Open a new shell to use completion.")
    return 0


app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def with_common_options(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    no_color: Annotated[bool, Parameter(help="Print without colors, as NO_COLOR=1 does.")] = False,
) -> object:
    """Take what every command takes, and run the command."""
    if no_color:
        os.environ["NO_COLOR"] = "1"  # so that everything that prints hears of it, in other processes too
    if not words:
        say(console_beside(), QUESTIONS)
        return 0
    return app(words, exit_on_error=False, print_error=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a table has characters that not every encoding has
    try:
        status = app.meta(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        complain(f"{error} See: lockstep --help")
        status = LockstepError.exit_status
    except LockstepError as error:
        complain(str(error))
        status = error.exit_status
    except KeyboardInterrupt:
        complain("interrupted.")
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)
