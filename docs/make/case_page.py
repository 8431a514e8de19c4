"""The page of case files: every key, from the JSON Schema that checks them."""

from __future__ import annotations

import inspect
import json
from typing import Any

from lockstep.harness.cases.case_file import case_schema

INTRODUCTION = """# Case files

A case is a TOML file with the tables below; a TOML file with a table `[lstm]` is one. Made from the JSON Schema that
`lockstep schema` prints, and that an editor reads by `#:schema ./case.schema.json` in the first line. Unknown keys are
errors. Several keys exclude each other: the message says which.
"""

LARGEST = 2**31  # what is bounded by more than this is not bounded for a reader

# In the order in which a file is written; what else the schema defines follows.
TABLES = {
    "Case": "A file",
    "LSTM": "[lstm]",
    "Run": "[run]",
    "AttentionDecoder": "[attention_decoder]",
    "Encoder": "[attention_decoder.encoder]",
    "Expect": "[expect]",
    "Tolerance": "[tolerance]",
}


def case_page() -> str:
    """The page."""
    tables = case_schema()["$defs"]
    order = [name for name in TABLES if name in tables] + sorted(set(tables) - set(TABLES))
    return INTRODUCTION + "".join(_section(name, tables) for name in order)


def _section(name: str, tables: dict[str, Any]) -> str:
    table = tables[name]
    required = table.get("required", [])
    lines = [f'\n## {TABLES.get(name, name)} {{ id="{name.lower()}" }}', "", _words(table), ""]
    lines += ["| Key | Value | Default | What it is |", "| --- | --- | --- | --- |"]
    for key, value in table["properties"].items():
        cells = [f"`{key}`", type_words(value), _default(key, value, required), meaning(value, tables)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _default(key: str, value: dict[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    return "none" if value.get("default") is None else f"`{json.dumps(value['default'])}`"


def type_words(value: dict[str, Any]) -> str:
    """What a value may be, from its schema."""
    if "$ref" in value:
        name = _name(value)
        return f"table [`{TABLES.get(name, name)}`](#{name.lower()})"
    if "anyOf" in value:
        return ", or ".join(type_words(one) for one in value["anyOf"] if one.get("type") != "null")
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    kind = value.get("type", "anything")
    if kind == "array":
        inner = value.get("items") or (value.get("prefixItems") or [{}])[0]
        return f"list of {type_words(inner)}" if inner else "list"
    bounds = [
        f"{words} {value[key]}"
        for key, words in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in value and value[key] <= LARGEST
    ]
    return " ".join([str(kind), *bounds])


def meaning(value: dict[str, Any], tables: dict[str, Any]) -> str:
    """What a key is: its own description, or that of the table it stands for."""
    own = value.get("description")
    if own:
        return str(own)
    named = [one for one in (value, *value.get("anyOf", ())) if "$ref" in one]
    return _words(tables[_name(named[0])]).partition("\n")[0] if named else ""


def _name(value: dict[str, Any]) -> str:
    return str(value["$ref"]).rsplit("/", 1)[-1]


def _words(table: dict[str, Any]) -> str:
    return inspect.cleandoc(table.get("description", "")).replace("``", "`")
