"""What a user says of an object's arrays, with --layout: the name of a dialect, or a small TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.harness.cases.gates import GATES
from lockstep.harness.errors import LockstepError
from lockstep.harness.weights.dialects import DIALECTS

_KEYS = {"gates": str, "forget_bias": (int, float), "batch_first": bool, "parameters": dict}
_ROLES = ("W", "R", "b", "WR", "RW")
_EXAMPLE = '"cell.kernel" = "WR transposed", "bias" = "b", "W_forget" = "W.f" or "scale" = "ignore"'


@dataclass(frozen=True)
class Rule:
    """What is said of an object's arrays; what is left out is found."""

    gates: str | None = None  # in the order in which stacked arrays have them
    layout: str = ""  # the dialect that was named
    forget_bias: float | None = None  # that the object adds at run time
    batch_first: bool | None = None
    parameters: tuple[tuple[str, str], ...] = ()  # a name, and "W", "R transposed", "b.f", "ignore"
    file: str = ""


def rule_of(layout: str | None) -> Rule | None:
    """What ``--layout`` says of an object; None where there is none, or it is no layout at all.

    Raises:
        LockstepError: If a file cannot be read, or says what is not known.
    """
    if layout in DIALECTS:
        dialect = DIALECTS[layout]
        return Rule(dialect.gates, dialect.name, dialect.forget_bias)
    if layout is None or not layout.endswith(".toml"):
        return None
    try:
        said = tomllib.loads(Path(layout).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockstepError(f"{layout}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    _check(layout, said)
    parameters = tuple(said.pop("parameters", {}).items())
    return Rule(**{**said, "gates": _gates(layout, said.get("gates"))}, parameters=parameters, file=layout)


def _check(file: str, said: dict[str, Any]) -> None:
    for key, value in said.items():
        kind = _KEYS.get(key)
        if kind is None:
            raise LockstepError(f"{file}: nothing is known of {key}. Allowed: {', '.join(_KEYS)}.")
        if not isinstance(value, kind):
            raise LockstepError(f"{file}: {key} = {value!r} is a {type(value).__name__}.")
    for name, text in said.get("parameters", {}).items():
        words = str(text).split()
        role, _, gates = (words or [""])[0].partition(".")
        known = text == "ignore" or (role in _ROLES and words[1:] in ([], ["transposed"]) and set(gates) <= set(GATES))
        if not known:
            raise LockstepError(
                f'{file}: [parameters] "{name}" = {text!r}: write what it is, {", ".join(_ROLES)} (with .i, .f, .g or '
                f".o for one gate, and transposed), or ignore. For example {_EXAMPLE}."
            )


def _gates(file: str, gates: str | None) -> str | None:
    if gates is None:
        return None
    letters = gates.replace(",", "").replace(" ", "").replace("c", "g").replace("j", "g")
    if sorted(letters) != sorted(GATES):
        raise LockstepError(
            f'{file}: gates = "{gates}": write i, f, g and o in the order in which they lie, such as "ifog".'
        )
    return letters
