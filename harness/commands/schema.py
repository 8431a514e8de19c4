"""``lockstep schema``: the form of a case file."""

from __future__ import annotations


def schema() -> int:
    """Print the JSON Schema of a case file."""
    import msgspec

    from lockstep.harness.cases.case_file import case_schema

    print(msgspec.json.format(msgspec.json.encode(case_schema()), indent=2).decode())
    return 0
