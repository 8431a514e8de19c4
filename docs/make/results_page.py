"""The page of results as JSON: every field of every value, from the code that writes them."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import get_args

from lockstep.harness.adapters import trace
from lockstep.harness.comparison import results

INTRODUCTION = """# Results as JSON

What `--json` of `run`, `check` and `compare` writes, and what `lockstep report` and `lockstep compare` read: one
[Results](#results). The other commands that take `--json` say in [their help](commands.md) what they write.

Format 1. Fields may be added; none is renamed or removed. A number that is not finite is one of the strings `"NaN"`,
`"Infinity"`, `"-Infinity"`. Keys of `tensors` are names such as `h`, `c`, `h_n`, `dW`; of several lanes `h_l0`,
`c_l1_reverse` and so on.

From Python, `lockstep.load_results(path)` gives the same values as objects with these
fields.
"""

FIRST = ("Results", "RunResult", "TensorResult", "Difference", "PerTimestep", "Limit", "Diagnosis")


# Values of other modules that results hold.
USED = ("Parameter",)


def results_page() -> str:
    """The page."""
    found = structs()
    return INTRODUCTION + "".join(_section(found[name], found) for name in order_of(found))


@dataclass(frozen=True)
class Source:
    """One class, and the lines of the file it stands in."""

    node: ast.ClassDef
    lines: list[str]

    @property
    def summary(self) -> str:
        """Its docstring."""
        return inspect.cleandoc(ast.get_docstring(self.node) or "").replace("``", "`")

    def fields(self) -> list[ast.AnnAssign]:
        """Its fields, in the order of the JSON."""
        return [field for field in self.node.body if isinstance(field, ast.AnnAssign)]


def structs() -> dict[str, Source]:
    """Every class that results are made of, by its name."""
    return {
        node.name: Source(node, lines)
        for module, lines in ((trace, _lines(trace)), (results, _lines(results)))
        for node in ast.parse("\n".join(lines)).body
        if isinstance(node, ast.ClassDef) and _is_struct(node) and (module is results or node.name in USED)
    }


def order_of(found: dict[str, Source]) -> list[str]:
    """The names in the order in which they are read: what is in a result before what is in that."""
    return [*FIRST, *(name for name in found if name not in FIRST)]


def _lines(module: ModuleType) -> list[str]:
    return inspect.getsource(module).splitlines()


def _is_struct(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Struct" for base in node.bases)


def _section(source: Source, found: dict[str, Source]) -> str:
    rows = [
        f"| `{ast.unparse(field.target)}` | {_type(field.annotation, found)} | {meaning(field, source, found)} |"
        for field in source.fields()
    ]
    head = ["| Field | Type | What it is |", "| --- | --- | --- |"]
    return "\n".join(["", f"## {source.node.name}", "", source.summary, "", *head, *rows, ""])


def _type(annotation: ast.expr, found: dict[str, Source]) -> str:
    text = ast.unparse(annotation)
    for name in ("Verdict", "Status", "Origin"):
        if text == name:
            return " or ".join(f'`"{one}"`' for one in get_args(getattr(results, name)))
    links = ", ".join(f"[{name}](#{name.lower()})" for name in _named(annotation, found))
    # In code a pipe does not end a cell.
    return f"`{text}`" + (f": {links}" if links else "")


def _named(annotation: ast.expr, found: dict[str, Source]) -> list[str]:
    return sorted({part.id for part in ast.walk(annotation) if isinstance(part, ast.Name) and part.id in found})


def meaning(field: ast.AnnAssign, source: Source, found: dict[str, Source]) -> str:
    """What a field is: by the comment behind it, or that above it, or what its type's docstring says first."""
    text = _comment(field, source.lines)
    named = _named(field.annotation, found)
    if not text and named:
        text = found[named[0]].summary.partition("\n")[0]
    return text.replace("|", "\\|")


def _comment(field: ast.AnnAssign, lines: list[str]) -> str:
    assert field.end_lineno is not None
    assert field.end_col_offset is not None
    behind = lines[field.end_lineno - 1].encode()[field.end_col_offset :].decode().strip()
    if behind.startswith("#"):
        return behind[1:].strip()
    above: list[str] = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip()[1:].strip())
    return " ".join(above)
