"""A case: one LSTM configuration, as its TOML file says it, validated, frozen and hashable."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr, replace

from harness.errors import CaseError

Size = Annotated[int, Meta(ge=1, le=2**20)]
ValueKind = Literal["zeros", "ones", "uniform", "probe"]
DType = Literal["float32", "float64"]

# A trace and its expected values with variances stay below some 10 GB.
MOST_NUMBERS = 2**28


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table of a case file."""


class Values(Table, frozen=True, kw_only=True):
    """Where numbers come from: a kind with a scale, or a file."""

    kind: Annotated[
        ValueKind | None,
        Meta(
            description="zeros; ones; uniform: independent draws; probe: seeded values of which no two "
            "have the same magnitude, none near zero, in a range that keeps every gate sensitive"
        ),
    ] = None
    scale: Annotated[float, Meta(description="Factor on every value of the kind.")] = 1.0
    file: Annotated[
        str | None,
        Meta(
            description=".npz or .safetensors, relative to the case file, holding W, R, b (weights), "
            "x (inputs) or h0, c0 (initial_state)"
        ),
    ] = None

    def __post_init__(self) -> None:
        if (self.kind is None) == (self.file is None):
            raise ValueError('give either kind = "..." or file = "..."')
        if not math.isfinite(self.scale):
            raise ValueError(f"scale = {self.scale} is not a finite number")
        if self.file is not None and self.scale != 1.0:
            raise ValueError("scale goes with kind, not with file: a file's values are taken as they are")


class LSTM(Table, frozen=True, kw_only=True):
    """The network: what is computed, whatever the data."""

    input_size: Annotated[Size, Meta(description="Width I of the input.")]
    hidden_size: Annotated[Size, Meta(description="Width H of the hidden and the cell state.")]
    bias: Annotated[bool, Meta(description="Whether the gates have a bias.")] = True
    forget_bias: Annotated[
        float,
        Meta(description="Constant added to the forget gate before its sigmoid; canonical weights hold it in b."),
    ] = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.forget_bias):
            raise ValueError(f"forget_bias = {self.forget_bias} is not a finite number")
        if not self.bias and self.forget_bias:
            raise ValueError(
                f"bias = false leaves no place for forget_bias = {self.forget_bias}: set forget_bias = 0.0"
            )


class Run(Table, frozen=True, kw_only=True):
    """The data: how long, how many, which numbers."""

    timesteps: Annotated[int, Meta(ge=1, le=2**24, description="Length T of the sequences.")]
    batch: Annotated[Size, Meta(description="Number B of sequences.")] = 1
    dtype: Annotated[DType, Meta(description="Precision in which backends compute.")] = "float32"
    weights: Annotated[ValueKind | Values, Meta(description="Kernels W, R and bias b.")] = "probe"
    inputs: Annotated[ValueKind | Values, Meta(description="Input x.")] = "probe"
    initial_state: Annotated[ValueKind | Values, Meta(description="States h0 and c0.")] = "zeros"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Seed of uniform and probe values.")] = 0
    lengths: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...] | None,
        Meta(description="Valid timesteps of each sequence, 0 to timesteps; all of them if left out."),
    ] = None

    def __post_init__(self) -> None:
        if self.lengths is None:
            return
        if len(self.lengths) != self.batch:
            raise ValueError(f"lengths has {len(self.lengths)} entries for batch = {self.batch}")
        if self.lengths and max(self.lengths) > self.timesteps:
            raise ValueError(
                f"lengths has {max(self.lengths)}, beyond timesteps = {self.timesteps}: "
                f"allowed are 0 to {self.timesteps}"
            )

    def values(self, key: Literal["weights", "inputs", "initial_state"]) -> Values:
        """Give a key's values in their long form."""
        given: str | Values = getattr(self, key)
        return given if isinstance(given, Values) else Values(kind=given)  # type: ignore[arg-type]


GoldenNumbers = float | tuple[Any, ...]


class Expect(Table, frozen=True, kw_only=True):
    """Golden values, from outside this project, that reference and backends must both meet.

    Each is a number for all places, or a list over the leading axes of its tensor: one number per
    timestep, say, for every unit of every sequence.
    """

    h: Annotated[GoldenNumbers | None, Meta(description="Hidden state, (T, B, H) or its leading axes.")] = None
    c: Annotated[GoldenNumbers | None, Meta(description="Cell state, (T, B, H) or its leading axes.")] = None
    h_n: Annotated[GoldenNumbers | None, Meta(description="Final hidden state, (B, H) or its leading axes.")] = None
    c_n: Annotated[GoldenNumbers | None, Meta(description="Final cell state, (B, H) or its leading axes.")] = None
    atol: Annotated[float, Meta(gt=0, description="Largest absolute difference that still agrees.")]
    source: Annotated[str, Meta(description="Where the values come from.")]

    def __post_init__(self) -> None:
        if not math.isfinite(self.atol):
            raise ValueError("atol must be finite")
        if not self.tensors():
            raise ValueError("no golden values: give at least one of h, c, h_n, c_n")
        for name, golden in self.tensors().items():
            force_setattr(self, name, _frozen_numbers(name, golden))

    def tensors(self) -> dict[str, GoldenNumbers]:
        """Give the golden values by tensor."""
        given = {name: getattr(self, name) for name in ("h", "c", "h_n", "c_n")}
        return {name: golden for name, golden in given.items() if golden is not None}


class Tolerance(Table, frozen=True, kw_only=True):
    """A gate of the case's own, in place of the one derived from rounding."""

    rtol: Annotated[float, Meta(ge=0, description="Relative part.")]
    atol: Annotated[float, Meta(ge=0, description="Absolute part.")]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rtol) and math.isfinite(self.atol)):
            raise ValueError("rtol and atol must be finite")


class Case(Table, frozen=True, kw_only=True):
    """One LSTM configuration with its data, and what is expected of it."""

    lstm: LSTM
    run: Run
    name: Annotated[
        str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.+-]{0,99})?$", description="Defaults to the file's name.")
    ] = ""
    description: Annotated[str, Meta(description="What the case tries to break, in one line.")] = ""
    expect: Expect | None = None
    tolerance: Tolerance | None = None

    def __post_init__(self) -> None:
        T, B = self.run.timesteps, self.run.batch
        I, H = self.lstm.input_size, self.lstm.hidden_size
        for what, count in (("timesteps x batch x (input_size + 4 hidden_size)", T * B * (I + 4 * H)),
                            ("4 hidden_size x (input_size + hidden_size)", 4 * H * (I + H))):  # fmt: skip
            if count > MOST_NUMBERS:
                raise ValueError(f"{what} = {count}: more than {MOST_NUMBERS} numbers do not fit")
        if self.expect is not None:
            for name, golden in self.expect.tensors().items():
                _check_golden_shape(name, golden, (B, H) if name.endswith("_n") else (T, B, H))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """T, B, I and H."""
        return self.run.timesteps, self.run.batch, self.lstm.input_size, self.lstm.hidden_size


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
    except UnicodeDecodeError as error:
        raise CaseError(f"{path}: not a text file (byte {error.start} is not UTF-8). A case is a TOML file.") from error
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise CaseError(f"{path}: not valid TOML: {error}.") from error
    except RecursionError as error:
        raise CaseError(f"{path}: not a case: its tables or arrays are nested too deeply.") from error
    return case_from_data(data, path)


def case_from_data(data: dict[str, Any], path: Path) -> Case:
    """Make a case of parsed TOML; ``path`` names it, and files it names lie relative to it.

    Raises:
        CaseError: As ``load_case``.
    """
    try:
        case = msgspec.convert(data, Case)
        if not case.name:
            case = msgspec.convert({**data, "name": path.stem}, Case)
    except msgspec.ValidationError as error:
        raise CaseError(_explain(str(error), data, path)) from error
    except RecursionError as error:
        raise CaseError(f"{path}: not a case: its tables or arrays are nested too deeply.") from error
    return replace(case, run=_with_absolute_files(case.run, path))


def case_schema() -> dict[str, Any]:
    """Give the JSON Schema of a case file."""
    schema = msgspec.json.schema(Case)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Lockstep case", **schema}


def _with_absolute_files(run: Run, path: Path) -> Run:
    changes: dict[str, Values] = {}
    for key in ("weights", "inputs", "initial_state"):
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


def _frozen_numbers(name: str, golden: Any) -> GoldenNumbers:
    """Check that ``golden`` is a number or nested lists of numbers, and make its lists tuples."""
    if isinstance(golden, (list, tuple)):
        return tuple(_frozen_numbers(name, part) for part in golden)
    if isinstance(golden, bool) or not isinstance(golden, (int, float)):
        raise ValueError(f"{name} holds {golden!r}, which is not a number")  # noqa: TRY004 (msgspec adds the path to it)
    return float(golden)


def _check_golden_shape(name: str, golden: GoldenNumbers, shape: tuple[int, ...]) -> None:
    if not isinstance(golden, tuple):
        return
    if not shape or len(golden) != shape[0]:
        found = len(golden)
        raise ValueError(
            f"expect.{name} has a list of {found} where its axis has {shape[0] if shape else 'no further'} entries"
        )
    for part in golden:
        _check_golden_shape(name, part, shape[1:])


_TABLES: dict[str, type[Struct]] = {"": Case, "lstm": LSTM, "run": Run, "expect": Expect, "tolerance": Tolerance}


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
    found = _found(data, keys)
    if found is not None and not isinstance(found, dict):
        message += f"; found {reprlib.repr(found)}"
        kinds = get_args(ValueKind)
        if key in {"weights", "inputs", "initial_state"}:
            message += f'. Choose one of: {", ".join(kinds)}, or a table such as {{ file = "values.npz" }}'
        elif key == "dtype":
            message += f". Choose one of: {', '.join(get_args(DType))}"
    return f"{path}, {place}: {message}." if place else f"{path}: {message}."


def _explain_unknown(key: str, keys: list[str], path: Path) -> str:
    table = keys[0] if keys else ""
    struct = _TABLES.get(table, Case) if len(keys) < 2 else Values  # noqa: PLR2004
    allowed = list(struct.__struct_fields__)
    close = difflib.get_close_matches(key, allowed, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    place = f"{path}, [{'.'.join(keys)}]" if keys else f"{path}"
    return f"{place}: unknown key {key[:80]!r}.{guess} Allowed: {', '.join(allowed)}."


def _found(data: Any, keys: list[str]) -> Any:
    for key in keys:
        if not isinstance(data, dict):
            return data
        data = data.get(key)
    return data
