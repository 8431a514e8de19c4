"""An attention decoder, written once more as plainly as it goes, one sequence at a time: complex numbers in, so that
the imaginary part carries a derivative exactly (see ``plain_lstm``). Nothing in common with the reference but its
problem.
"""

from __future__ import annotations

import numpy as np
from plain_lstm import STEP


def _cell(W, R, b, x, h, c):
    z_i, z_f, z_g, z_o = np.split(W @ x + R @ h + b, 4)
    c = c / (1 + np.exp(-z_f)) + np.tanh(z_g) / (1 + np.exp(-z_i))
    return np.tanh(c) / (1 + np.exp(-z_o)), c


def _encoded(a, sequence, length):
    E = a["R_encoder"].shape[1]
    h = c = np.zeros(E, complex)
    outputs = []
    for s, x_s in enumerate(a["x"][:, sequence]):
        if s < length:
            h, c = _cell(a["W_encoder"], a["R_encoder"], a["b_encoder"], x_s, h, c)
        outputs.append(h if s < length else np.zeros(E, complex))
    return np.array(outputs)


def _attended(a, enc, h, length):
    scores = np.zeros(len(enc), complex)
    attention = np.zeros(len(enc), complex)
    for s in range(length):
        if "v_a" in a:
            scores[s] = sum(a["v_a"][0] * np.tanh(a["W_q"] @ h + a["W_k"] @ enc[s]))
        else:
            scores[s] = sum(enc[s] * (a["W_a"] @ h if "W_a" in a else h))
    raised = np.exp(scores[:length] - scores[:length].real.max())
    attention[:length] = raised / raised.sum()
    return scores, attention, sum(attention[s] * enc[s] for s in range(len(enc)))


def values(problem, arrays=None):
    """Every tensor of the forward pass by name, time first, complex."""
    a = arrays or {name: array.astype(complex) for name, array in problem.arrays().items() if name != "lengths"}
    T, B, _, _ = problem.case.shape
    S = problem.case.attention_decoder.source_timesteps
    found = {name: [[] for _ in range(T)] for name in ("c", "h", "scores", "attention", "context", "y", "logit")}
    encoded = []
    for k in range(B):
        length = S if problem.lengths is None else int(problem.lengths[k])
        enc = a["enc"][:, k] if "enc" in a else _encoded(a, k, length)
        encoded.append(enc)
        h, c, y = a["h0"][k], a["c0"][k], a["y0"][k]
        for t in range(T):
            into_cell = problem.case.attention_decoder.context == "input"
            if into_cell:
                scores, attention, context = _attended(a, enc, h, length)
            h, c = _cell(a["W"], a["R"], a["b"], np.concatenate([context, y]) if into_cell else y, h, c)
            if not into_cell:
                scores, attention, context = _attended(a, enc, h, length)
            y = np.tanh(a["W_tilde"] @ np.concatenate([context, h]) + a["b_tilde"])
            now = {"c": c, "h": h, "scores": scores, "attention": attention, "context": context, "y": y}
            for name, value in {**now, "logit": a["W_target"] @ y}.items():
                found[name][t].append(value)
    result = {name: np.array(rows) for name, rows in found.items()}
    return result if "enc" in a else result | {"enc": np.array(encoded).swapaxes(0, 1)}


def derivative(problem, name, at):
    """The derivative of sum(dy * y) + sum(dlogit * logit) by one number of an argument."""
    arrays = {key: array.astype(complex) for key, array in problem.arrays().items() if key != "lengths"}
    arrays[name][at] += 1j * STEP
    found = values(problem, arrays)
    loss = (problem.dy * found["y"]).sum() + (problem.dlogit * found["logit"]).sum()
    return loss.imag / STEP
