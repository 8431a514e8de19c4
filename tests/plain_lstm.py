"""Every LSTM a case can ask for, written once more as plainly as it goes: complex numbers in, so that the imaginary
part carries a derivative exactly. Nothing in common with the reference but the problem it is given.

Source of the method: Squire and Trapp, Using complex variables to estimate derivatives of real functions (1998).
"""

from __future__ import annotations

import numpy as np

STEP = 1e-40  # no cancellation: the derivative is exact to rounding


def _real_branch(z, inside, low, high):
    return np.where(z.real <= low, 0 * z, np.where(z.real >= high, 0 * z + 1, inside))


CURVES = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "hard_sigmoid_0.2": lambda z: _real_branch(z, z / 5 + 0.5, -2.5, 2.5),
    "hard_sigmoid_1/6": lambda z: _real_branch(z, z / 6 + 0.5, -3, 3),
    "relu": lambda z: np.where(z.real > 0, z, 0 * z),
    "linear": lambda z: z,
}


def _lane(lstm, weights, x, h, c, detached=""):
    """One direction of one layer over one sequence: outputs by timestep, final states.

    ``detached``: of h and c, what carries no derivative from a step to the next: its imaginary part is dropped.
    """
    H, outputs = lstm.hidden_size, []
    gate, candidate, cell = (
        CURVES[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    for x_t in x:
        if outputs:
            h, c = (h.real + 0j if "h" in detached else h), (c.real + 0j if "c" in detached else c)
        z = weights["W"] @ x_t + weights["R"] @ h + weights["b"]
        z_i, z_f, z_g, z_o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        peephole = weights.get("p")
        if peephole is not None:
            z_i, z_f = z_i + peephole[0] * c, z_f + peephole[1] * c
        i, g = gate(z_i), candidate(z_g)
        f = 1 - i if lstm.input_forget else gate(z_f)
        c = f * c + i * g
        if lstm.cell_clip is not None:
            c = np.where(np.abs(c.real) > lstm.cell_clip, np.sign(c.real) * lstm.cell_clip + 0j, c)
        if peephole is not None:
            z_o = z_o + peephole[2] * c
        h = gate(z_o) * cell(c)
        if "P" in weights:
            h = weights["P"] @ h
        outputs.append(h)
    return outputs, h, c


def backwards(_timesteps, length):
    """The timesteps of the reverse direction, in the order in which it takes them."""
    return list(range(length))[::-1]


def run(case, arrays, *, taken=backwards, put=backwards, joined=lambda parts: parts, detached=""):
    """Give h (T, B, D P), h_n and c_n (L D, B, ·) of complex arrays by the names of ``Problem.arrays``.

    What goes wrong on purpose: ``taken`` and ``put`` say which timesteps the reverse direction reads and writes, in
    order; ``joined`` what becomes of the directions' outputs before they stand side by side.
    """
    lstm, (T, B, _, _) = case.lstm, case.shape
    D = len(lstm.directions)
    lengths = case.run.lengths or (T,) * B
    single = lstm.single
    h0, c0 = (arrays[name][None] if single else arrays[name] for name in ("h0", "c0"))
    h_n, c_n = h0.copy(), c0.copy()
    below = arrays["x"]
    for layer in range(lstm.num_layers):
        parts = []
        for d, reverse in enumerate(lstm.directions):
            suffix = "" if single else f"_l{layer}{'_reverse' if reverse else ''}"
            weights = {name: arrays[name + suffix] for name in ("W", "R", "b", "P", "p") if name + suffix in arrays}
            part = np.zeros((T, B, lstm.output_size), complex)
            for n, length in enumerate(lengths):
                read, write = (taken(T, length), put(T, length)) if reverse else (range(length), range(length))
                k = layer * D + d
                outputs, h_n[k, n], c_n[k, n] = _lane(lstm, weights, below[list(read), n], h0[k, n], c0[k, n], detached)
                for t, h in zip(write, outputs, strict=True):
                    part[t, n] = h
            parts.append(part)
        below = np.concatenate(joined(parts), axis=-1)
    return {"h": below, "h_n": h_n, "c_n": c_n}


def loss(problem, arrays, **faults):
    """Give sum(dh * h) + sum(dc * c_n)."""
    found = run(problem.case, arrays, **faults)
    dc = problem.dc[None] if problem.case.lstm.single else problem.dc
    return np.sum(problem.dh.astype(complex) * found["h"]) + np.sum(dc.astype(complex) * found["c_n"])


def complex_arrays(problem):
    """The arrays of a problem, ready to carry a derivative."""
    return {key: array.astype(complex) for key, array in problem.arrays().items()}


def derivative(problem, name, at, **faults):
    """Give the derivative of the loss by one number of one array."""
    arrays = complex_arrays(problem)
    arrays[name][at] += 1j * STEP
    return loss(problem, arrays, **faults).imag / STEP


def gradients(problem, **faults):
    """Give all derivatives of the loss: dx, dh0, dc0 and those of the weights, shaped as what they belong to."""
    return {
        f"d{name}": np.array([derivative(problem, name, at, **faults) for at in np.ndindex(array.shape)]).reshape(
            array.shape
        )
        for name, array in problem.arrays().items()
        if name not in {"lengths", "dh", "dc"}
    }
