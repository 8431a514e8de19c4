"""``lockstep cases``: what is shipped."""

from __future__ import annotations

from harness.console import console_beside


def cases() -> int:
    """List the shipped cases."""
    from harness.case import load_case
    from harness.find_cases import shipped
    from harness.terminal import show_cases

    show_cases(console_beside(), [load_case(path) for path in shipped().values()])
    return 0
