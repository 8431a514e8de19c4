"""The commands as cyclopts runs them: it reads a command's words and calls the function that is named there."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isfunction
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Parameter

from lockstep.harness.cli.argument import for_cyclopts
from lockstep.harness.cli.commands import COMMANDS
from lockstep.harness.cli.help import PURPOSE
from lockstep.harness.cli.words import loaded
from lockstep.harness.errors import LockstepError

HELP = frozenset({"--help", "-h"})


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
for name in COMMANDS:
    app.command(f"{__name__}:{name}", name=name)  # imported when it is called

app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def with_common_options(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    no_color: Annotated[bool, Parameter(help="Print without colors, as NO_COLOR=1 does.")] = False,  # noqa: ARG001 (main reads it)
) -> object:
    """Show what every command takes beside what one takes."""
    return app(words, exit_on_error=False, print_error=False)


def answered(words: Sequence[str]) -> object:
    """What a command gives.

    Raises:
        LockstepError: If there is none as the words ask for.
    """
    # Words that are read twice take twice the time.
    reader = app.meta if HELP.intersection(words) else app
    try:
        return reader(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise LockstepError(f"{error} See: lockstep --help") from error


def __getattr__(name: str) -> Any:
    """A command with annotations that cyclopts reads, by its name."""
    if name not in COMMANDS:
        raise AttributeError(name)
    command = loaded(name)
    return for_cyclopts(command) if isfunction(command) else command
