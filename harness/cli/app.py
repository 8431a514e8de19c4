"""The commands as cyclopts runs them: it reads a command's words and calls the function that is named there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import cyclopts
from cyclopts import App, Parameter

from lockstep.harness.cli.commands import COMMANDS
from lockstep.harness.cli.help import PURPOSE, QUESTIONS
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import INTERRUPTED, complain, console_beside, say


def _version() -> str:
    from importlib.metadata import version

    return version("lockstep-rnn")


app = App(
    name="lockstep",
    help=PURPOSE,
    help_format="plaintext",
    version=_version,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=""),  # no --no-quiet and the like
)
for name, home in COMMANDS.items():
    app.command(f"lockstep.harness.cli.{home}", name=name)  # imported when it is called

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


def status_of(words: Sequence[str]) -> int:
    """Run a command: its exit status."""
    try:
        status = app.meta(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        complain(f"{error} See: lockstep --help")
        return LockstepError.exit_status
    except LockstepError as error:
        complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        complain("interrupted.")
        return INTERRUPTED
    return status if isinstance(status, int) else 0
