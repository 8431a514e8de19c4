"""LSTM as the plainest loop over timesteps in NumPy: the equations, and nothing else.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here. Every operation is
done in the case's dtype; ``backends.numpy_operations`` tells how, and ``backends.numpy_backward`` has the gradients.
"""

from __future__ import annotations

import numpy as np

from lockstep.backends import numpy_backward
from lockstep.backends.numpy_operations import ACTIVATIONS, Step, held, keep, matmul
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.cases.tensors import merged, name_of

REQUIRES = ("numpy",)
RESETS = True


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        Of each lane gates, ``c`` and ``h`` at every timestep, the final states, and gradients if they are asked for.
    """
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    walks: list[numpy_backward.Walk] = []
    by_name: Arrays = {}
    # Where exp overflows the gate is 0; an unbounded activation may lead to infinity, and on to NaN.
    with stopwatch("run"), np.errstate(over="ignore", invalid="ignore"):
        below, above = _padding_zeroed(p.x, p.lengths), []
        for (lane, weights), h0, c0 in zip(p.lanes(), p.states("h0"), p.states("c0"), strict=True):
            steps, arrays = run_lane(lstm, weights, below, h0, c0, p.lengths, p.resets, reverse=lane.reverse)
            walks.append(numpy_backward.Walk(lane, weights, below, steps, arrays["h"]))
            by_name |= {name_of(kind, lane, lstm): array for kind, array in arrays.items()}
            above.append(arrays["h"])
            if len(above) == len(lstm.directions):
                below, above = above[0] if len(above) == 1 else merged(above, lstm), []
        if lstm.merged:
            by_name["h"] = below
        if p.dh is not None:
            by_name |= numpy_backward.gradients(p, walks)
    return Trace(seconds=stopwatch.seconds, **by_name)  # type: ignore[arg-type]


def _padding_zeroed(x: Array, lengths: Array | None) -> Array:
    """Set ``x`` (T, B, I) to 0 past each sequence's end: its gradient is 0 there, and 0 times NaN would be NaN."""
    return x if lengths is None else np.where(np.arange(len(x))[:, None, None] < lengths[:, None], x, x.dtype.type(0))


def _stacked(steps: list[Array], like: Array) -> Array:
    """One array of those of all timesteps, each shaped like another, which tells it where there is none."""
    return np.stack(steps) if steps else np.empty((0, *like.shape), like.dtype)


def run_lane(
    lstm: LSTM,
    weights: Weights,
    x: Array,
    h: Array,
    c: Array,
    lengths: Array | None,
    resets: Array | None = None,
    *,
    reverse: bool,
) -> tuple[list[Step], Arrays]:
    """Run one direction of one layer over ``x`` (T, B, I), from the state it is given.

    The reverse direction goes from the last timestep to the first; a sequence keeps its first state until its own last
    timestep comes. Where ``resets`` (T, B) are true a sequence starts anew from zeros.

    Returns:
        The steps in order of time; and by kind gates, c (T, B, H), h (T, B, P), h_n and c_n.
    """
    W, R, b, P, p = weights.W, weights.R, weights.b, weights.P, weights.p
    gate, candidate, cell = (
        ACTIVATIONS[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    T, clip = len(x), lstm.cell_clip
    steps: list[Step] = []
    for t in reversed(range(T)) if reverse else range(T):
        if resets is not None:
            h, c = (np.where(resets[t][:, None], np.zeros_like(state), state) for state in (h, c))
        z_i, z_f, z_g, z_o = split_gates(matmul(x[t], W.T) + matmul(h, R.T) + b)
        if p is not None:
            z_i, z_f = z_i + p[0] * c, z_f + p[1] * c
        i, g = gate(z_i), candidate(z_g)
        f = 1 - i if lstm.input_forget else gate(z_f)
        raw = f * c + i * g
        c_new = raw if clip is None else held(raw, -clip, clip)
        o = gate(z_o if p is None else z_o + p[2] * c_new)
        m = o * cell(c_new)
        h_new = m if P is None else matmul(m, P.T)
        steps.append(Step(i, f, g, o, c_new, h_new, h, c))
        valid = None if lengths is None else (t < lengths)[:, None]
        h, c = keep(valid, h_new, h), keep(valid, c_new, c)
    if reverse:
        steps.reverse()
    tensors = {name: _stacked([getattr(step, name) for step in steps], h if name == "h" else c) for name in "ifgoch"}
    if lengths is not None:
        valid = np.arange(T)[:, None, None] < lengths[:, None]
        # A trace has 0 past a sequence's end, but for c, which stays what it was.
        tensors = {
            name: np.where(valid, array, c if name == "c" else np.zeros_like(array)) for name, array in tensors.items()
        }
    return steps, {**tensors, "h_n": h, "c_n": c}
