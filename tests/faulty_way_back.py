"""The way back of one plain LSTM by hand, with slips: all NumPy, nothing of the harness.

What each product and slope takes can be another value of another step: a slip in ``take`` gets the values of all steps
and the step.
"""

from __future__ import annotations

import numpy as np

GATES = "ifgo"


def sigmoid(z):
    """The curve of i, f and o."""
    return 1 / (1 + np.exp(-z))


def _same(a):
    return a


def way_forward(problem):
    """Every value of every step."""
    x, h, c = problem.x, problem.h0, problem.c0
    peepholes = problem.weights[0][0].arrays().get("p", np.zeros((3, h.shape[-1])))
    steps = []
    for x_t in x:
        z = np.split(x_t @ problem.W.T + h @ problem.R.T + problem.b, 4, axis=-1)
        i, f = sigmoid(z[0] + peepholes[0] * c), sigmoid(z[1] + peepholes[1] * c)
        g = np.tanh(z[2])
        new = f * c + i * g
        o = sigmoid(z[3] + peepholes[2] * new)
        u = np.tanh(new)
        steps.append({"x": x_t, "h_in": h, "c_in": c, "i": i, "f": f, "g": g, "o": o, "c": new, "u": u, "h": o * u})
        h, c = steps[-1]["h"], new
    return steps


# Which value each product or slope takes.
TAKEN = {
    "keep.f": "f", "keep.c": "c_in", "add.i": "i", "add.g": "g", "out.o": "o", "out.u": "u", "x": "x", "h_in": "h_in",
    "slope.i": "i", "slope.f": "f", "slope.g": "g", "slope.o": "o", "slope.u": "u",
}  # fmt: skip


def way_back(problem, *, W=_same, R=_same, p=_same, dz=_same, returned=_same, take=None, peepholes=1.0):
    """Gradients by name. ``W``, ``R`` and ``p`` change what is read on the way back alone, ``dz`` what arrives at z."""
    steps, T = way_forward(problem), len(problem.x)
    stored = problem.weights[0][0].arrays().get("p", np.zeros((3, problem.h0.shape[-1])))
    W_back, R_back, p_back = W(problem.W), R(problem.R), p(stored) * peepholes
    dW, dR, db, dp = np.zeros_like(problem.W), np.zeros_like(problem.R), np.zeros_like(problem.b), np.zeros_like(stored)
    dx, dh, dc = np.zeros_like(problem.x), np.zeros_like(problem.h0), problem.dc.copy()
    for t in reversed(range(T)):
        own = {use: steps[t][name] for use, name in TAKEN.items()}
        own |= {use: slip(steps, t) for use, slip in (take or {}).items()}
        dh = dh + problem.dh[t]
        do = dh * own["out.u"] * own["slope.o"] * (1 - own["slope.o"])
        dc = dc + dh * own["out.o"] * (1 - own["slope.u"] ** 2) + do * p_back[2]
        di = dc * own["add.g"] * own["slope.i"] * (1 - own["slope.i"])
        df = dc * own["keep.c"] * own["slope.f"] * (1 - own["slope.f"])
        dg = dc * own["add.i"] * (1 - own["slope.g"] ** 2)
        d = dz(np.concatenate([di, df, dg, do], axis=-1))
        dW += d.T @ own["x"]
        dR += d.T @ own["h_in"]
        db += d.sum(axis=0)
        dp += np.stack([(di * steps[t]["c_in"]).sum(0), (df * steps[t]["c_in"]).sum(0), (do * steps[t]["c"]).sum(0)])
        dx[t] = d @ W_back
        dh = d @ R_back
        dc = dc * own["keep.f"] + di * p_back[0] + df * p_back[1]
    found = {"dx": dx, "dh0": dh, "dc0": dc, "dW": dW, "dR": dR, "db": db}
    return returned(found | ({"dp": dp} if problem.case.lstm.peephole else {}))


def returned_values(problem, **slips):
    """What a port returns that goes forward rightly and back with slips."""
    steps = way_forward(problem)
    forward = {name: np.stack([step[name] for step in steps]) for name in "ch"}
    return forward | {"h_n": steps[-1]["h"], "c_n": steps[-1]["c"]} | way_back(problem, **slips)


def in_order(order):
    """Blocks of i, f, g and o read where they were stacked in another order."""
    return lambda a: np.concatenate([np.split(a, 4)[order.index(gate)] for gate in GATES])


def by_gate(**changes):
    """A change of some gates' blocks, from all four."""

    def change(a):
        blocks = dict(zip(GATES, np.split(a, 4), strict=True))
        return np.concatenate([changes[gate](blocks) if gate in changes else blocks[gate] for gate in GATES])

    return change


def of_step(name, by, before=None):
    """A value of another step: ``before`` the first, and zeros behind the last, where nothing else is said."""

    def take(steps, t):
        if t + by < 0:
            return np.zeros_like(steps[0][name]) if before is None else before(steps)
        return steps[t + by][name] if t + by < len(steps) else np.zeros_like(steps[0][name])

    return take
