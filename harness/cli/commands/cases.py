"""``lockstep cases``: what is shipped."""

from __future__ import annotations

from lockstep.harness.output.console import console_beside


def cases() -> int:
    """List the shipped cases."""
    from lockstep.harness.cases.case_file import load_case
    from lockstep.harness.cases.find import shipped
    from lockstep.harness.output.terminal import show_cases

    show_cases(console_beside(), [load_case(path) for path in shipped().values()])
    return 0


def schema() -> int:
    """Print the JSON Schema of a case file."""
    import msgspec

    from lockstep.harness.cases.case_file import case_schema

    print(msgspec.json.format(msgspec.json.encode(case_schema()), indent=2).decode())
    return 0
