"""The other side of the limit: how small a change of one weight, one state, one activation is seen."""

from __future__ import annotations

from statistics import median

import ml_dtypes
import numpy as np

from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA

PROBLEMS, PLACES = 20, 10
T, B, I, H = 20, 3, 5, 8
WHAT = ("one entry of W", "one entry of R", "one entry of b", "one state h", "one state c", "one gate i", "one gate o")


def detection_table() -> list[str]:
    """Give, per dtype, the relative change that is just seen at 10 sigma, in unit roundoffs, and as a number."""
    lines = [
        "| Smallest relative change that is seen | " + " | ".join(DTYPES) + " |",
        "| --- |" + " ---: |" * len(DTYPES),
    ]
    found = {dtype: _smallest(dtype) for dtype in DTYPES}
    for what in WHAT:
        cells = []
        for dtype in DTYPES:
            u = float(ml_dtypes.finfo(dtype).eps) / 2
            changes = found[dtype][what]
            cells.append(f"{median(changes):.0e} ({median(changes) / u:.0f} u)")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    note = (
        f"Medians over {PROBLEMS} problems of T {T}, B {B}, I {I}, H {H} and {PLACES} places each; u is the dtype's "
        "unit roundoff. A state or a gate is changed at one timestep, in one unit of one sequence; all that comes "
        "after follows. Changes are computed as if they were small: near 1 the number is an estimate."
    )
    lines += ["", note]
    return lines


DTYPES = ("float64", "float32", "float16", "bfloat16")


def _smallest(dtype: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {what: [] for what in WHAT}
    rng = np.random.default_rng(0)
    for seed in range(PROBLEMS):
        run = Run(timesteps=T, batch=B, dtype=dtype, initial_state="probe", seed=seed)  # type: ignore[arg-type]
        problem = Problem.from_case(Case(lstm=LSTM(input_size=I, hidden_size=H), run=run, name="detection"))
        expected = expect(problem)
        noise = {name: expected[name].noise.astype(np.longdouble) for name in "hc"}
        plain = _run(problem)
        for _ in range(PLACES):
            for what in WHAT:
                # Small enough to be linear, large enough not to drown in the rounding of this computation.
                step = 1e-7 if dtype == "float64" else 1e-4
                changed = _run(problem, what, step, rng)
                sigma = max(float((np.abs(changed[name] - plain[name]) / noise[name]).max()) for name in "hc")
                found[what].append(step * LIMIT_SIGMA / sigma)
    return found


def _run(
    problem: Problem, what: str = "", change: float = 0.0, rng: np.random.Generator | None = None
) -> dict[str, np.ndarray]:
    """Run the plain recurrence in longdouble, with one number changed by a share of itself."""
    W, R, b, x, h, c = (
        a.astype(np.longdouble) for a in (problem.W, problem.R, problem.b, problem.x, problem.h0, problem.c0)
    )
    t0, n, unit = (int(rng.integers(size)) for size in (T - 1, B, H)) if rng is not None else (-1, 0, 0)
    for name, array in (("W", W), ("R", R), ("b", b)):
        if what == f"one entry of {name}" and rng is not None:
            array[tuple(int(rng.integers(size)) for size in array.shape)] *= 1 + change
    seen: dict[str, list[np.ndarray]] = {"h": [], "c": []}
    for t in range(T):
        z = x[t] @ W.T + h @ R.T + b
        i, f, o = (1 / (1 + np.exp(-z[:, k * H : (k + 1) * H])) for k in (0, 1, 3))
        gates = {"one gate i": i, "one gate o": o}
        if t == t0 and what in gates:
            gates[what][n, unit] *= 1 + change
        c = f * c + i * np.tanh(z[:, 2 * H : 3 * H])
        if t == t0 and what == "one state c":
            c[n, unit] *= 1 + change
        h = o * np.tanh(c)
        if t == t0 and what == "one state h":
            h[n, unit] *= 1 + change
        seen["h"].append(h.copy())
        seen["c"].append(c.copy())
    return {name: np.stack(values) for name, values in seen.items()}
