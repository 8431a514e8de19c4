"""Case files: TOML read into a case, its schema, and what a wrong file is told."""

from __future__ import annotations

import json
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.cases.case import (
    LSTM,
    VALUE_KEYS,
    AttentionDecoder,
    Case,
    Expect,
    Run,
    Tolerance,
    ValueKind,
    Values,
)
from lockstep.harness.errors import CaseError, meant


def load_case(path: Path) -> Case:
    """Read one case file.

    Raises:
        CaseError: If the file cannot be read or is no valid case; the message names file, key,
            what was found and what is allowed.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CaseError(f"{path}: cannot be read: {error.strerror or error}.") from error
    # Before ValueError, of which it is a kind.
    except UnicodeDecodeError as error:
        raise CaseError(f"{path}: not a text file (byte {error.start} is not UTF-8). A case is a TOML file.") from error
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise CaseError(f"{path}: not valid TOML: {error}.") from error
    except RecursionError as error:
        raise CaseError(f"{path}: not a case: its tables or arrays are nested too deeply.") from error
    return case_from_data(data, path)


def case_from_data(data: dict[str, Any], path: Path) -> Case:
    """Make a case of parsed TOML, as ``load_case`` does; files it names lie relative to ``path``."""
    try:
        case = msgspec.convert(data, Case)
        if not case.name:
            # Converted anew: a file's name has to match the pattern of names too.
            case = msgspec.convert({**data, "name": path.stem}, Case)
    except msgspec.ValidationError as error:
        raise CaseError(_explain(str(error), data, path)) from error
    except RecursionError as error:
        raise CaseError(f"{path}: not a case: its tables or arrays are nested too deeply.") from error
    return replace(case, run=_with_absolute_files(case.run, path))


def case_schema() -> dict[str, Any]:
    """The JSON Schema of a case file."""
    schema = msgspec.json.schema(Case)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Lockstep case", **schema}


def case_text(case: Case) -> str:
    """A case as the text of its file, which ``load_case`` reads; what is as ever is left out."""
    data = msgspec.to_builtins(case)
    tables = {"": {key: value for key, value in data.items() if not isinstance(value, dict)}}
    tables |= {key: value for key, value in data.items() if isinstance(value, dict)}
    parts = []
    for name, table in tables.items():
        lines = [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
        parts.append("\n".join([f"[{name}]", *lines] if name else lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _toml(value: Any) -> str:
    """A value in TOML, a table within a line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in value.items() if part is not None)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)  # strings and truth values are written alike, and so are numbers


def _with_absolute_files(run: Run, path: Path) -> Run:
    changes: dict[str, Values] = {}
    for key in VALUE_KEYS:
        values = run.values(key)
        if values.file is None:
            continue
        file = (path.parent / values.file).absolute()
        if "\0" in values.file or not file.is_file():
            raise CaseError(
                f"{path}, [run] {key}: file {values.file!r} does not exist. Paths are relative to the case file."
            )
        changes[key] = replace(values, file=str(file))
    return replace(run, **changes)


_TABLES: dict[str, type[Struct]] = {
    "": Case, "lstm": LSTM, "attention_decoder": AttentionDecoder, "run": Run, "expect": Expect, "tolerance": Tolerance,
}  # fmt: skip


def _explain(problem: str, data: dict[str, Any], path: Path) -> str:
    """Turn msgspec's message, which ends in a path such as ``$.lstm.bias``, into one for the file's author."""
    what, _, where = problem.partition(" - at `$")
    keys = re.findall(r"[^.`\[\]]+", where)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, flags=re.DOTALL)
    if unknown:
        return _explain_unknown(unknown[1], keys, path)
    table, key = (keys[0], ".".join(keys[1:])) if keys and keys[0] in _TABLES else ("", ".".join(keys))
    place = f"[{table}] {key}".strip() if table else key
    message = f"{what[0].lower()}{what[1:]}"
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        message = f"the key {missing[1]} is missing"
    value = _value_at(data, keys)
    if value is not None and not isinstance(value, dict):
        message += f"; found {reprlib.repr(value)}"
        kinds, allowed = get_args(ValueKind), get_type_hints(_TABLES[table]).get(key)
        if key in VALUE_KEYS:
            message += f'. Choose one of: {", ".join(kinds)}, or a table such as {{ file = "values.npz" }}'
        elif get_origin(allowed) is Literal:
            message += f". Choose one of: {', '.join(get_args(allowed))}"
    return f"{path}, {place}: {message}." if place else f"{path}: {message}."


def _explain_unknown(key: str, keys: list[str], path: Path) -> str:
    table = keys[0] if keys else ""
    struct = _TABLES.get(table, Case) if len(keys) < 2 else LSTM if keys[1] == "encoder" else Values  # noqa: PLR2004
    allowed = list(struct.__struct_fields__)
    place = f"{path}, [{'.'.join(keys)}]" if keys else f"{path}"
    guess = meant(key, allowed, "'{}'")
    return f"{place}: unknown key {key[:80]!r}.{guess} Allowed: {', '.join(allowed)}."


def _value_at(data: Any, keys: list[str]) -> Any:
    """The value that a file has at a path of keys, or the one on the way there that is no table."""
    for key in keys:
        if not isinstance(data, dict):
            return data
        data = data.get(key)
    return data
