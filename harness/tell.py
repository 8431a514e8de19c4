"""What commands tell on stderr, beside their results, and the exit statuses of those that have none to give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.harness.console import error_console

if TYPE_CHECKING:
    from lockstep.harness.adapters.backend import BackendInfo

WRONG_REQUEST = 2
FAILED = 3
INTERRUPTED = 130


def complain(message: str) -> None:
    """Say what is wrong, in red."""
    from lockstep.harness.terminal import plain

    text = plain("lockstep: ")
    text.append(plain(message))
    error_console().print(text, soft_wrap=True, style="red")


def tell(text: str) -> None:
    """Say something by the way, dimmed."""
    error_console().print(text, markup=False, highlight=False, style="dim", soft_wrap=True)


def tell_absent(absent: list[BackendInfo]) -> None:
    """Say which backends are left out because their frameworks are not installed."""
    names = ", ".join(one.name for one in absent)
    tell(f"Not installed, left out: {names}. lockstep backends tells how to get them.")
