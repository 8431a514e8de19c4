"""Results: what was found, as plain values. The contract between the core, the reports and scripts.

In JSON a number that is not finite is one of the strings "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from lockstep.harness.adapters.trace import Parameter
from lockstep.harness.cases.info import CaseInfo
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ResultsError

FORMAT = 1  # of saved results: grows where older versions could not read them

Verdict = Literal["agree", "diverge"]
Status = Literal["agree", "diverge", "unsupported", "failed", "crashed", "timeout"]
Origin = Literal["derived", "case", "option", "pyproject"]

# What is said of a limit beside it: nothing of the derived one.
_ORIGINS = {"derived": "", "case": " (the case's own)", "option": " (option)", "pyproject": " (pyproject.toml)"}


class Limit(Struct, frozen=True):
    """The gate: so many sigma, or rtol and atol; and who set it."""

    origin: Origin  # who set it: rounding, the case, an option, or a project
    sigma: float | None = None  # of rounding, where that decides
    rtol: float | None = None  # relative tolerance, with atol
    atol: float | None = None  # absolute tolerance

    def __str__(self) -> str:
        bound = f"{self.sigma:g} sigma" if self.sigma is not None else f"atol {self.atol:g} + rtol {self.rtol:g}"
        return bound + _ORIGINS[self.origin]


class Difference(Struct, frozen=True):
    """One number against its expected value.

    ``sigma`` is the distance in standard deviations of rounding, ``rel`` is relative to the expected
    value, ``excess`` the distance over ``atol + rtol |expected|`` where the case has a tolerance.
    """

    at: tuple[int, ...]  # [timestep, sequence, unit]; without a timestep for a final state or a weight's gradient
    observed: float  # what the backend gave
    expected: float  # what the reference gave
    sigma: float
    ulp: float  # how many floats of that precision lie between
    abs: float  # the absolute difference
    rel: float
    timestep: int  # the timestep it belongs to, 0 where there is none
    excess: float | None = None


class PerTimestep(Struct, frozen=True):
    """The largest difference at each timestep by each measure; what has no timesteps is one row.

    ``at``, ``observed`` and ``expected`` are where sigma is largest.
    """

    sigma: list[float]
    ulp: list[float]
    abs: list[float]
    rel: list[float]
    at: list[tuple[int, ...]]
    observed: list[float]
    expected: list[float]
    beyond: list[int] | None  # numbers beyond the limit; None when judged again under another
    excess: list[float] | None = None  # the largest, as in a difference; None where the case has no tolerance


class Golden(Struct, frozen=True):
    """A tensor against the case's own golden values."""

    verdict: Verdict  # whether it is met
    abs: float  # the largest absolute difference
    atol: float  # what is allowed
    source: str  # where the values come from


class TensorResult(Struct, frozen=True, kw_only=True):
    """One tensor of one run; ``worst`` holds the largest value of each measure, and the place of the largest sigma."""

    verdict: Verdict  # of this tensor
    worst: Difference
    first_divergence: Difference | None
    per_timestep: PerTimestep
    size: int  # how many numbers were compared
    golden: Golden | None = None
    layer: int = 0  # of a network
    reverse: bool = False  # whether its lane goes from the last timestep to the first
    part: str = ""  # of a whole model: the layer it is the output of, nothing of the model's own outputs
    timed: bool | None = None  # of a whole model: whether its rows are timesteps

    @property
    def lane(self) -> Lane:
        """The layer and direction it belongs to."""
        return Lane(self.layer, self.reverse)


class Local(Struct, frozen=True):
    """Each step alone, from the state observed before it: the largest sigma at each timestep."""

    sigma: dict[str, list[float]]  # by tensor
    first_divergence: int | None  # the first timestep beyond the limit, in order of computation


class Detail(Struct, frozen=True, kw_only=True):
    """A timed tensor of one run, number by number at some places: what a report draws.

    Arrays are base64 of little-endian float32, (places, timesteps kept), C order: ``harness.comparison.details`` packs
    them. ``heat`` is base64 of uint8, (rows, columns): the largest sigma of several timesteps and units, as a code: 0
    is 0.01 sigma or less, 254 a million or more, in between they go by the logarithm, and 255 cannot be compared.
    """

    t: list[int]  # the timesteps kept
    at: list[tuple[int, ...]]  # the places: [sequence, unit] mostly
    expected: str  # what the reference gave
    noise: str  # its standard deviation
    error: str  # (observed - expected) / noise
    counterfactual: str | None = None  # the same of the reference with the first diagnosis' fault
    units: int  # how many units the tensor has
    heat: str  # rows of timesteps, columns of units
    heat_t: list[int]  # the first timestep of each row


class First(Struct, frozen=True):
    """Where a run first leaves the reference, in order of computation."""

    tensor: str  # its name
    timestep: int  # counted from 0
    backward: bool = False  # whether it is a gradient


class Diagnosis(Struct, frozen=True, kw_only=True):
    """One explanation of a divergence, proved by running the reference with it; or that none was found.

    ``fault`` is a stable name, several joined by " + ", or "unexplained". Where it is a deviation of
    ``harness.causes`` it is made of ``site``, ``edit`` and ``scope``, which are joined alike.
    """

    fault: str
    site: str = ""  # what is done otherwise there: a value, one use of it, a weight or a rule
    edit: str = ""  # what stands in its place
    scope: str = ""  # in which lanes and at which timesteps: "everywhere", "0r", "0r@later"
    message: str  # what is done otherwise
    sentences: list[str] = field(default_factory=list)  # of several mistakes at once: one for each, which message joins
    fix: str = ""  # what to do
    left_out: str = ""  # the feature of the case that it computes without, as if it had not been asked for
    sigma: float | None = None  # how far the reference with this fault is from what was returned; None if unexplained
    evidence: str = ""  # what proves it
    indistinguishable_from: list[str] = field(default_factory=list)  # other explanations of the same numbers
    told_apart_by: str | None = None  # a case under which these explanations differ
    family: str = ""  # of the catalogue
    elsewhere: Literal["", "other weights", "another call"] = ""  # where it shows though a case's numbers may be right
    met: str = ""  # where it was met outside
    facts: list[str] = field(default_factory=list)  # what is known where nothing explains
    proof: dict[str, Any] = field(default_factory=dict)  # what the reference did otherwise: fields of an execution


class RunResult(Struct, frozen=True, kw_only=True):
    """One backend on one case."""

    case: str  # its name
    backend: str  # its name, "port" of a port, or the file of a model
    status: Status  # "unsupported" says why in message; the last three are of the backend, not of its numbers
    limit: Limit | None = None
    first_divergence: First | None = None
    tensors: dict[str, TensorResult] = field(default_factory=dict)
    local: Local | None = None
    diagnosis: list[Diagnosis] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what else is worth knowing of the call
    parameters: list[Parameter] = field(default_factory=list)
    device: str | None = None  # where it ran, as the framework calls it
    versions: dict[str, str] = field(default_factory=dict)  # by distribution
    # By part: "import", "build", the "first" run, a "steady" one.
    seconds: dict[str, float] = field(default_factory=dict)
    repeatable: bool | None = None  # whether a second call gave the same bits; None if it was called once
    message: str | None = None  # why there is nothing to compare
    stderr: str | None = None  # what a backend that failed wrote there, its end
    computed_in: str | None = None  # "float32" where it was judged by float32's rounding though its case is float64
    timesteps: int = 0  # how many the case has
    rerun: str | None = None  # the command that runs exactly this again
    cached: bool = False  # whether its trace was taken from the cache; seconds are then those of the run that made it
    known: str | None = None  # the finding (harness.jobs.findings) that it is, and that was expected
    size: int | None = None  # bytes of the file that a route makes of a whole model
    details: dict[str, Detail] = field(default_factory=dict)  # by timed tensor; only where they were asked for

    @property
    def worst(self) -> tuple[str, Difference] | None:
        """The tensor furthest off in sigma, with its largest differences; None where nothing was compared."""
        if not self.tensors:
            return None
        name = max(self.tensors, key=lambda name: self.tensors[name].worst.sigma)
        return name, self.tensors[name].worst

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return _html_of(Results(environment={}, runs=[self]))


class Source(Struct, frozen=True):
    """The lines of a user's file that define a port, as they were when it ran."""

    file: str  # as seen from where the command ran
    line: int  # of the file, the first of the text
    text: str  # at most 400 lines


class Results(Struct, frozen=True, kw_only=True):
    """All runs of one command, and the environment they ran in."""

    format: Literal[1] = FORMAT  # 1, as long as fields are only added
    environment: dict[str, Any]  # command, time, versions, machine, precision of the reference; models, an object
    runs: list[RunResult]
    cases: dict[str, CaseInfo] = field(default_factory=dict)  # by name; empty in results of earlier versions
    sources: dict[str, Source] = field(default_factory=dict)  # of ports whose files are known, by the runs' backend
    files: dict[str, str] = field(default_factory=dict)  # of cases, by name, as seen from the root of the checkout

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return _html_of(self)

    @property
    def exit_status(self) -> int:
        """0 all agree, 1 something diverges, 2 nothing could be compared, 3 a backend failed; the highest.

        What is a known finding was expected and counts as 0.
        """
        if all(run.status == "unsupported" for run in self.runs):
            return 2
        return max(0 if run.known else exit_status(run.status) for run in self.runs)


def _html_of(results: Results) -> str | None:
    """Results as HTML through the renderer for notebooks; None, which a notebook takes for text, without one."""
    renderers = list(entry_points(group="lockstep.reports", name="notebook"))
    return renderers[0].load()(results) if renderers else None


def exit_status(status: Status) -> int:
    """The exit status that a run's status asks for."""
    return {"agree": 0, "unsupported": 0, "diverge": 1}.get(status, 3)


def encode_results(results: Results) -> bytes:
    """Results as JSON."""
    return encode(results)


def encode(value: Any) -> bytes:
    """Any plain value as JSON, numbers that are not finite as strings."""
    return msgspec.json.encode(_plain(msgspec.to_builtins(value)))


def decode_results(data: bytes, source: str) -> Results:
    """Read results from JSON; ``source`` names it in messages.

    Raises:
        ResultsError: If it is no JSON, or not results of this format.
    """
    try:
        data_found = msgspec.json.decode(data)
        if isinstance(data_found, dict) and data_found.get("format", FORMAT) != FORMAT:
            raise ResultsError(
                f"{source}: results of format {data_found['format']!r}; this version reads format {FORMAT}."
            )
        # Not strict: "Infinity" is a float here.
        return msgspec.convert(data_found, Results, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultsError(f"{source}: not results that lockstep wrote: {error}.") from error


def load_results(path: Path) -> Results:
    """Read saved results.

    Raises:
        ResultsError: If the file cannot be read or holds something else.
    """
    try:
        return decode_results(path.read_bytes(), str(path))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, str):  # half of a surrogate pair, from a backend's output, has no UTF-8
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value
