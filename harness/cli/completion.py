"""``lockstep --install-completion``: a script for the user's shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from lockstep.harness.cli.argument import Argument
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside, say


# Not cyclopts' own command of this name: it would be imported whenever anything is asked for.
def install_completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None,
        Argument(help="Of which shell; else of the one that runs."),
    ] = None,
    output: Annotated[
        Path | None,
        Argument(help="Where to write the script; else where that shell finds it, told in its startup file."),
    ] = None,
) -> int:
    """Have bash, zsh, fish or PowerShell complete commands, options and names."""
    from cyclopts.completion import ShellDetectionError

    from lockstep.harness.cli.app import app

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
