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


def _lane(lstm, weights, x, h, c, length):
    """One direction of one layer over one sequence: outputs by timestep, final states."""
    H, outputs = lstm.hidden_size, []
    gate, candidate, cell = (
        CURVES[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    for t in range(length):
        z = weights["W"] @ x[t] + weights["R"] @ h + weights["b"]
        z_i, z_f, z_g, z_o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        peephole = weights.get("p")
        if peephole is not None:
            z_i, z_f = z_i + peephole[0] * c, z_f + peephole[1] * c
        i, g = gate(z_i), candidate(z_g)
        f = 1 - i if lstm.input_forget else gate(z_f)
        c = f * c + i * g
        if lstm.cell_clip is not None:
            c = np.where(np.abs(c.real) > lstm.cell_clip, np.sign(c.real) * lstm.cell_clip + 0 * c.imag, c)
        if peephole is not None:
            z_o = z_o + peephole[2] * c
        h = gate(z_o) * cell(c)
        if "P" in weights:
            h = weights["P"] @ h
        outputs.append((h, c))
    return outputs, h, c


def run(case, arrays):
    """Give h (T, B, D P), h_n and c_n (L D, B, ·) of complex arrays by the names of ``Problem.arrays``."""
    lstm, (T, B, _, _) = case.lstm, case.shape
    D, P = len(lstm.directions), lstm.output_size
    lengths = case.run.lengths or (T,) * B
    single = lstm.single
    h0, c0 = (arrays[name][None] if single else arrays[name] for name in ("h0", "c0"))
    h_n, c_n = h0.copy(), c0.copy()
    below = arrays["x"]
    for layer in range(lstm.num_layers):
        above = np.zeros((T, B, D * P), complex)
        for d, reverse in enumerate(lstm.directions):
            suffix = "" if single else f"_l{layer}{'_reverse' if reverse else ''}"
            weights = {name: arrays[name + suffix] for name in ("W", "R", "b", "P", "p") if name + suffix in arrays}
            for n, length in enumerate(lengths):
                order = list(range(length))[::-1] if reverse else list(range(length))
                k = layer * D + d
                outputs, h_n[k, n], c_n[k, n] = _lane(lstm, weights, below[order, n], h0[k, n], c0[k, n], length)
                for t, (h, _) in zip(order, outputs, strict=True):
                    above[t, n, d * P : (d + 1) * P] = h
        below = above
    return {"h": below, "h_n": h_n, "c_n": c_n}


def loss(problem, arrays):
    """Give sum(dh * h) + sum(dc * c_n)."""
    found = run(problem.case, arrays)
    dc = problem.dc[None] if problem.case.lstm.single else problem.dc
    return np.sum(problem.dh.astype(complex) * found["h"]) + np.sum(dc.astype(complex) * found["c_n"])


def derivative(problem, name, at):
    """Give the derivative of the loss by one number of one array."""
    arrays = {key: array.astype(complex) for key, array in problem.arrays().items()}
    arrays[name][at] += 1j * STEP
    return loss(problem, arrays).imag / STEP
