"""Consoles: stdout, or stderr where stdout belongs to a file; as wide as the terminal, 80 columns where there is none.

rich reads ``NO_COLOR`` and ``FORCE_COLOR``. What is piped has no terminal's width, whoever else of the process has one.
"""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.harness.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH = 80
INTERRUPTED = 130  # the exit status that a shell gives what Ctrl-C ended


def console_beside(*files: Path | None) -> Console:
    """The console for what people read, beside files of which one may be "-", stdout."""
    return _console(stderr=any(str(file) == "-" for file in files))


def error_console() -> Console:
    """The console for complaints, progress, and what is told by the way."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console  # not before something is printed

    stream = sys.stderr if stderr else sys.stdout
    if stream is not None and stream.isatty():
        return Console(stderr=stderr)
    columns = os.environ.get("COLUMNS", "")
    return Console(stderr=stderr, width=int(columns) if columns.isdigit() and int(columns) else PIPED_WIDTH)


def complain(message: str) -> None:
    """What is wrong, in red."""
    say(error_console(), f"lockstep: {message}", "red")


def tell(text: str) -> None:
    """Print something by the way, dimmed."""
    say(error_console(), text, "dim")


def say(console: Console, text: str, style: str = "") -> None:
    """Print text as it is; the terminal breaks its lines, so that what is copied from it is whole."""
    console.print(plain(text), style=style, soft_wrap=True)


def plain(text: str, style: str = "") -> Text:
    """Text as it is: no markup, no control characters."""
    from rich.text import Text

    return Text(printable(text), style)


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """The lines of a paragraph, broken between words, every line but the first indented by two more."""
    first = " " * indent
    return textwrap.wrap(
        printable(text), width, initial_indent=first, subsequent_indent=first + "  ", break_on_hyphens=False
    )
