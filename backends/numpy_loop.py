"""LSTM as the plainest loop over timesteps in NumPy: the equations, and nothing else.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here.
"""

from __future__ import annotations

import numpy as np

from harness.case import Case
from harness.problem import Array, Problem
from harness.trace import Stopwatch, Trace

REQUIRES = ("numpy",)


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        Gates, ``c`` and ``h``, each (T, B, H), and the final states.
    """
    p = problem
    stopwatch = Stopwatch()
    h, c = p.h0, p.c0
    steps: list[tuple[Array, ...]] = []
    with stopwatch("run"), np.errstate(over="ignore"):
        for t, x_t in enumerate(p.x):
            i, f, g, o = np.split(x_t @ p.W.T + h @ p.R.T + p.b, 4, axis=-1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c_new = f * c + i * g
            h_new = o * np.tanh(c_new)
            if p.lengths is None:
                h, c = h_new, c_new
                steps.append((i, f, g, o, c, h))
                continue
            valid = (t < p.lengths)[:, None]
            h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
            i, f, g, o, out = (np.where(valid, a, 0) for a in (i, f, g, o, h_new))
            steps.append((i, f, g, o, c, out.astype(h.dtype)))
    i, f, g, o, c_seq, h_seq = (np.stack(part).astype(p.x.dtype, copy=False) for part in zip(*steps, strict=True))
    return Trace(i=i, f=f, g=g, o=o, c=c_seq, h=h_seq, h_n=h, c_n=c, seconds=stopwatch.seconds)


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), element by element; exp may overflow to infinity, which gives 0."""
    return 1 / (1 + np.exp(-z))
