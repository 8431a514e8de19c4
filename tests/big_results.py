"""Results of any size, made up from a seed: what a page of many cases, backends or timesteps is tried on.

The numbers are made up, what they come to is not: traces are compared and judged as those of real runs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.trace import Parameter, Trace
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.info import case_info
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import Tensor, kind_of, tensors_of
from lockstep.harness.comparison.compare import compare, limit_for
from lockstep.harness.comparison.details import details_of, packed, unpacked
from lockstep.harness.comparison.judge import first_beyond, judge
from lockstep.harness.comparison.results import Diagnosis, Local, Results, RunResult
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise

GIVEN = {"h", "c", "h_n", "c_n", "dx", "dW", "dR", "db", "dh0", "dc0"}  # what these backends expose
FORMS = (
    {}, {"initial_state": "probe"}, {"direction": "bidirectional"}, {}, {"gradients": True}, {"dtype": "float64"},
    {"lengths": True}, {}, {"direction": "reverse"}, {"num_layers": 2},
)  # fmt: skip
# Cases beyond so many are copies of earlier ones under other names: they cost no time, and a page no less room.
DIFFERENT = 40
WRONG = ("diverge", "unsupported", "failed", "crashed", "timeout")
SHARES = (0.1, 0.06, 0.01, 0.005, 0.005)

RESET = Diagnosis(
    fault="state-reset", family="state", sigma=0.9,
    message="Every step starts from the initial h and c: the state is not carried.",
    fix="Feed h and c of the step before into each step, and the given initial state into the first.",
    evidence="The reference with this mistake reproduces every number to 0.9 sigma.",
    indistinguishable_from=["h-source-initial", "reset-every-1"], told_apart_by="probe",
    met="Stack Overflow, Why build timestep-unfold LSTM manually has different outputs from using static_rnn.",
    proof={"h_source": "initial", "c_source": "initial"},
)  # fmt: skip
UNEXPLAINED = Diagnosis(
    fault="unexplained",
    message="No known mistake, alone or combined, gives these numbers.",
    facts=["wrong units of h: all 8", "replayed from your own previous state, every single timestep is right"],
)


def big_results(
    cases: int = 30,
    backends: int = 10,
    timesteps: int = 50,
    *,
    batch: int = 2,
    hidden_size: int = 8,
    details: bool = True,
    plain: bool = False,
    seed: int = 0,
    largest: float = 1e5,
) -> Results:
    """Make results of every case through every backend.

    Most agree; some diverge, with and without a diagnosis, are unsupported, failed, crashed or ran out of time, and one
    is a known finding. Every second backend has residuals of each step alone.

    Args:
        cases: How many; of ten forms in turn: layers, directions, lengths, gradients, float64 are among them.
        backends: How many.
        timesteps: Of each case.
        batch: Of each case.
        hidden_size: Of each case.
        details: Whether runs have details, and cases are told.
        plain: Whether all cases are of the first form: one layer that gives h, c, h_n and c_n.
        seed: Of everything.
        largest: Of the errors that are too large, in sigma; where it is infinity, some are not numbers.
    """
    names = [f"{framework}_{k}" for k, framework in zip(range(backends), _endless(), strict=False)]
    different = [_case(k, timesteps, batch, hidden_size, plain=plain) for k in range(min(cases, DIFFERENT))]
    runs: list[RunResult] = []
    infos = {}
    made = [
        _runs(case, names, np.random.default_rng([seed, k]), largest, details=details)
        for k, case in enumerate(different)
    ]
    for k in range(cases):
        like = different[k % DIFFERENT]
        name = like.name if k < DIFFERENT else f"{like.name}-{k // DIFFERENT}"
        infos[name] = case_info(replace(like, name=name))
        runs += [replace(run, case=name, rerun=_rerun(name, run.backend)) for run in made[k % DIFFERENT]]
    environment = {
        "lockstep": "0.1.0", "python": "3.11.9", "numpy": "2.3.1", "platform": "Linux-6.1-x86_64", "machine": "x86_64",
        "processors": 2, "threads": 1, "reference": {"float32": "float64", "float64": "longdouble"},
    }  # fmt: skip
    return Results(environment=environment, runs=runs, cases=infos if details else {})


def _endless():
    while True:
        yield from ("torch", "tf", "jax", "keras", "flax", "onnx", "paddle", "mlx")


def _rerun(case: str, backend: str) -> str:
    return f"lockstep run {case} --backend {backend}"


def _case(k: int, timesteps: int, batch: int, hidden_size: int, *, plain: bool) -> Case:
    form = {} if plain else FORMS[k % len(FORMS)]
    words = ", ".join(f"{name} {value}" for name, value in form.items()) or "one plain layer"
    own = {"timesteps": timesteps, "batch": batch, **form}
    if "lengths" in form:
        own["lengths"] = tuple(max(timesteps - b * (timesteps // 3), 1) for b in range(batch))
    return Case(
        lstm=LSTM(input_size=4, hidden_size=hidden_size, **{n: v for n, v in form.items() if hasattr(LSTM, n)}),
        run=Run(**{name: value for name, value in own.items() if hasattr(Run, name)}, seed=k),
        name=f"case-{k:04}",
        description=f"Made up: {words}; seed {k}.",
    )


def _runs(
    case: Case, backends: list[str], rng: np.random.Generator, largest: float, *, details: bool
) -> list[RunResult]:
    tensors = {name: tensor for name, tensor in tensors_of(case).items() if kind_of(name) in GIVEN}
    expected = {name: _expected(tensor, case, rng) for name, tensor in tensors.items()}
    given = case, tensors, expected, rng, largest
    return [_run(backend, k, *given, details=details) for k, backend in enumerate(backends)]


def _expected(tensor: Tensor, case: Case, rng: np.random.Generator) -> ExpectedTensor:
    """Smooth curves between -1 and 1, with noise that grows a little over time."""
    noise = Noise.of(case.run.dtype)
    T = tensor.shape[0] if tensor.timed else 1
    shape = tensor.shape if tensor.timed else (1, *tensor.shape)
    time = np.arange(T).reshape(-1, *[1] * (len(shape) - 1))
    frequency, phase, size = rng.uniform(0.02, 0.4, shape[1:]), rng.uniform(0, 6.3, shape[1:]), rng.uniform(0.1, 0.9)
    values = np.tanh(size * np.sin(frequency * time + phase) + 0.1 * rng.normal(size=shape))
    deviation = np.sqrt(float(noise.u2)) * (0.5 + np.abs(values)) * (1 + np.log1p(time))
    return ExpectedTensor.of(values.reshape(tensor.shape), np.square(deviation).reshape(tensor.shape), noise)


def _run(
    backend: str, k: int, case: Case, tensors, expected: Expected, rng, largest: float, *, details: bool
) -> RunResult:
    fate = str(rng.choice([*WRONG, "agree"], p=[*SHARES, 1 - sum(SHARES)]))
    facts = {"versions": {backend.partition("_")[0]: f"2.{k}.0"}, "device": "cpu", "repeatable": True}
    if fate not in {"agree", "diverge"}:
        messages = {
            "unsupported": f"{backend} has no {rng.choice(['projection', 'peepholes', 'float16', 'gradients'])}",
            "failed": "ValueError: Dimensions must be equal, but are 4 and 8", "crashed": "the process died: signal 11",
            "timeout": "no answer within 120 s: the process was ended",
        }  # fmt: skip
        stderr = "Traceback (most recent call last):\n  ...\nValueError: 4 and 8" if fate == "failed" else None
        return RunResult(
            case=case.name, backend=backend, status=fate, message=messages[fate], stderr=stderr,
            timesteps=case.run.timesteps,
        )  # fmt: skip
    first = int(rng.integers(0, case.run.timesteps)) if fate == "diverge" else None
    arrays = {name: _observed(tensor, expected[name], case, first, rng, largest) for name, tensor in tensors.items()}
    limit = limit_for(case)
    measured = RunResult(
        case=case.name, backend=backend, status="agree", limit=limit, timesteps=case.run.timesteps,
        tensors=compare(Trace(**arrays), expected, case, limit), local=_local(case, tensors, first, k, rng),
        parameters=_parameters(case, backend), seconds={"build": 0.1, "run": float(rng.uniform(0.001, 0.1))}, **facts,
    )  # fmt: skip
    run = judge(measured, limit)
    if details:
        run = replace(run, details=details_of(arrays, expected, run.tensors))
    if run.status == "diverge":
        explained = bool(rng.random() < 2 / 3)
        run = replace(run, diagnosis=[RESET if explained else UNEXPLAINED])
        if explained:
            run = replace(run, details={name: _explained(one, rng) for name, one in run.details.items()})
        elif rng.random() < 1 / 3:
            run = replace(run, known="a-known-finding")
    return run


def _observed(tensor: Tensor, expected: ExpectedTensor, case, first: int | None, rng, largest: float) -> np.ndarray:
    sigma = 0.4 * rng.normal(size=tensor.shape)
    if first is not None:
        after = np.arange(tensor.shape[0]) if tensor.timed else np.full(tensor.shape[0], case.run.timesteps - 1)
        after = case.run.timesteps - 1 - after if tensor.lane.reverse else after
        after = after.reshape(-1, *[1] * (len(tensor.shape) - 1)) - first
        wrong = 10 ** rng.uniform(2, np.log10(min(largest, 1e13))) * np.sin(
            rng.uniform(0, 6.3, tensor.shape[1:]) + 0.1 * after
        )
        if not np.isfinite(largest) and rng.random() < 1 / 4:
            wrong = wrong * rng.choice([1, np.inf, np.nan], wrong.shape, p=[0.9, 0.05, 0.05])
        with np.errstate(invalid="ignore"):  # 0 * infinity, before the first divergence
            sigma = sigma + np.where(after >= 0, wrong * np.minimum(after + 1, 5), 0)
    values = expected.value.astype(np.float64) + expected.rest + sigma * expected.noise
    return values.astype(dtype_of(case.run.dtype))


def _local(case: Case, tensors, first: int | None, k: int, rng) -> Local | None:
    if k % 2:
        return None
    sigma = {name: np.abs(rng.normal(size=case.run.timesteps)) for name in tensors if kind_of(name) in {"h", "c"}}
    if first is not None:
        for series in sigma.values():
            series[first] *= 1e3
    lists = {name: series.tolist() for name, series in sigma.items()}
    return Local(lists, first_beyond(lists, 10.0))


@cache
def _parameters(case: Case, backend: str) -> list[Parameter]:
    I, H = case.lstm.input_size, case.lstm.hidden_size
    shapes = {"weight_ih_l0": (4 * H, I), "weight_hh_l0": (4 * H, H), "bias_ih_l0": (4 * H,), "bias_hh_l0": (4 * H,)}
    return [Parameter(f"{backend}.{name}", shape) for name, shape in shapes.items()]


def _explained(detail, rng):
    """Give a detail with a counterfactual that lies on what was observed, to within rounding."""
    error = unpacked(detail.error, len(detail.at))
    return replace(detail, counterfactual=packed(error + 0.4 * rng.normal(size=error.shape)))
