"""The runs of one file, by one rule: what x is there more than once.

- Names below a prefix, ``run0/x``, ``run1/x``: what stands below each is that run's, all else is everybody's.
- Names with a number, ``x_0``, ``x_1``: inputs and outputs with that number are that run's, all else is everybody's.
- x with an axis in front of its three: each input and output that has it too is taken apart along it.
"""

from __future__ import annotations

import re

from lockstep.harness.arrays import Arrays
from lockstep.harness.jobs.dumps.roles import role_of

_NUMBERED = re.compile(r"(?P<stem>.+)[_.\-](?P<number>\d+)|(?P<word>.*\D)(?P<digits>\d+)")
_TIMED = 3  # axes of x


def split_runs(arrays: Arrays, x_name: str | None = None) -> dict[str, Arrays]:
    """The arrays of each run by its name, what is everybody's among them; one run without a name where there is one."""
    return _by_prefix(arrays, x_name) or _by_number(arrays) or _by_axis(arrays, x_name) or {"": arrays}


def _by_prefix(arrays: Arrays, x_name: str | None) -> dict[str, Arrays]:
    prefixes = {}
    for name in arrays:
        match = re.fullmatch(r"(.+?)[/.]([^/.]+)", name)
        if match and (match[2] == x_name or role_of(match[2]) == "x"):
            prefixes[name[: match.end(1) + 1]] = match[1]
    if len(prefixes) < 2:  # noqa: PLR2004
        return {}
    common = {name: array for name, array in arrays.items() if not name.startswith(tuple(prefixes))}
    return {
        run: common | {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix, run in prefixes.items()
    }


def _by_number(arrays: Arrays) -> dict[str, Arrays]:
    stems = {
        name: (match["stem"] or match["word"], match["number"] or match["digits"])
        for name in arrays if (match := _NUMBERED.fullmatch(name))
    }  # fmt: skip
    numbers = [number for stem, number in stems.values() if role_of(stem) == "x"]
    if len(numbers) < 2:  # noqa: PLR2004
        return {}
    numbered = {name for name, (stem, number) in stems.items() if number in numbers and role_of(stem) is not None}
    common = {name: array for name, array in arrays.items() if name not in numbered}
    return {
        f"run{number}": common | {stems[name][0]: arrays[name] for name in numbered if stems[name][1] == number}
        for number in numbers
    }


def _by_axis(arrays: Arrays, x_name: str | None) -> dict[str, Arrays]:
    x = next((array for name, array in arrays.items() if name == x_name or role_of(name) == "x"), None)
    if x is None or x.ndim != _TIMED + 1:
        return {}
    count = len(x)
    split = {
        name for name, array in arrays.items()
        if (name == x_name or role_of(name) is not None) and array.ndim > 1 and len(array) == count
    }  # fmt: skip
    return {
        f"run{k}": {name: array[k] if name in split else array for name, array in arrays.items()} for k in range(count)
    }
