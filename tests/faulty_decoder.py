"""An attention decoder, Luong's or Bahdanau's, in NumPy with switches for what goes wrong, written apart from the
reference: a port to plant faults in. ``decoder(fault="...")`` gives a port; without a fault it is healthy.
"""

from __future__ import annotations

import numpy as np


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def decoder(fault=None, later_weights=None):  # noqa: C901 (each fault stands where it strikes)
    """Give a port with one thing done otherwise; ``later_weights`` are those of every step but the first."""

    def port(enc, weights, h0, c0, y0, steps, lengths=None):  # noqa: C901
        w = dict(weights)
        S, B, E = enc.shape
        h, c, y, context = h0, c0, y0, np.zeros((B, E), enc.dtype)
        into_cell = w["W"].shape[1] > y0.shape[1]
        valid = np.ones((B, S), bool) if lengths is None else np.arange(S) < np.asarray(lengths)[:, None]
        logits, h_tilde = [], []
        for t in range(steps):
            w = dict(later_weights) if t and later_weights is not None else w
            if t and fault in {"target unshared", "all unshared"}:
                w["W_target"] = np.ones_like(w["W_target"])
            if t and fault in {"tilde unshared", "all unshared"}:
                w["W_tilde"], w["b_tilde"] = np.ones_like(w["W_tilde"]), np.zeros_like(w["b_tilde"])
            if t and fault == "cell unshared":
                w["W"], w["R"] = np.ones_like(w["W"]), np.ones_like(w["R"])
            if t == 2 and fault == "target of one step unshared":
                w["W_target"] = np.ones_like(weights["W_target"])
            elif fault == "target of one step unshared":
                w["W_target"] = weights["W_target"]
            before = h
            start_h = h0 if fault in {"state reset", "h reset"} else h
            start_c = c0 if fault in {"state reset", "c reset"} else c
            x = y
            after = fault in {"attends after", "as AttentionWrapper"}
            if into_cell and not after:
                query = {"cell state": c, "initial state": h0}.get(fault, h)
                fresh = _context(w, enc, query, valid, fault)
                into = {"cell without context": 0 * fresh, "old context into the cell": context}.get(fault, fresh)
                x = np.concatenate([y, into] if fault == "cell exchanged" else [into, y], axis=-1)
            elif into_cell:
                x = np.concatenate([y, context] if fault == "as AttentionWrapper" else [context, y], axis=-1)
            h, c = _cell(w, x, start_h, start_c)
            if not into_cell or after:
                query = {"previous": before, "cell state": c}.get(fault, h)
                if fault == "next":
                    query, _ = _cell(w, y, h, c)
                fresh = _context(w, enc, query, valid, fault)
            if fault == "output without context":
                fresh = 0 * fresh
            used = context if fault == "context of step before" else fresh
            context = fresh
            bare = np.concatenate([h, used] if fault == "exchanged" else [used, h], axis=-1) @ w["W_tilde"].T
            bare = bare + w["b_tilde"]
            out = np.tanh(bare)
            logits.append((bare if fault == "target before tanh" else out) @ w["W_target"].T)
            h_tilde.append(out)
            y = {"fed back before tanh": bare, "not fed back": y0, "zeros fed back": np.zeros_like(out)}.get(fault, out)
        return np.stack(logits), np.stack(h_tilde)

    return port


def _context(w, enc, query, valid, fault):
    E, U = enc.shape[2], w["v_a"].size if "v_a" in w else 1
    if "W_a" in w:
        query = query @ (w["W_a"] if fault == "W_a transposed" else w["W_a"].T)
    if "v_a" in w:
        W_q, W_k = (w["W_k"], w["W_q"]) if fault == "query and keys exchanged" else (w["W_q"], w["W_k"])
        keys = enc if fault == "keys not projected" else enc @ W_k.T
        bare = keys + (query if fault == "query not projected" else query @ W_q.T)
        if fault in {"multiplied", "dot product"}:
            bare = keys * (query @ W_q.T)
        hidden = bare if fault in {"no tanh", "tanh outside", "dot product"} else np.tanh(bare)
        v_a = np.ones_like(w["v_a"]) if fault in {"summed", "dot product"} else w["v_a"]
        v_a = v_a / np.linalg.norm(v_a) if fault == "normalised" and v_a.any() else v_a
        scores = (hidden @ v_a.T)[..., 0].T
        scores = np.tanh(scores) if fault == "tanh outside" else scores
    else:
        scores = np.einsum("sbe,be->bs", enc, query)
    if fault in {"scaled", "scaled by U"}:
        scores = scores / np.sqrt(enc.dtype.type(E if fault == "scaled" else U))
    a = _attention(scores, valid, fault)
    return np.einsum("bs,sbe->be", a, keys if fault == "context of keys" else enc)


def _cell(w, y, h, c):
    i, f, g, o = np.split(y @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def _attention(scores, valid, fault):
    if fault == "softmax over one":
        return np.ones_like(scores)
    if fault == "softmax over batch":
        masked = np.where(valid, scores, -np.inf)
        largest = masked.max(axis=0)  # -inf where no source is that long
        raised = np.exp(masked - np.where(np.isfinite(largest), largest, 0))
        return np.nan_to_num(raised / np.maximum(raised.sum(axis=0), np.finfo(scores.dtype).tiny))
    if fault == "not masked":
        valid = np.ones_like(valid)
    if fault == "masked by zero":
        scores, valid = np.where(valid, scores, 0), np.ones_like(valid)
    if fault == "masked after":
        return np.where(valid, _attention(scores, np.ones_like(valid), None), 0).astype(scores.dtype)
    z = np.where(valid, scores, -np.inf)
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(scores.dtype)


# By the name that it is told by.
FAULTS = {
    "softmax over batch": "softmax:over-the-batch",
    "not masked": "mask:not",
    "masked by zero": "mask:zero-score",
    "masked after": "mask:after",
    "previous": "query:h_in",
    "next": "query:one-call-further",
    "cell state": "query:c",
    "exchanged": "joined:exchanged",
    "scaled": "softmax.scores:times-1/sqrt(E)",
    "context of step before": "context.attention:previous",
    "fed back before tanh": "y.fed:bare",
    "not fed back": "y.fed:initial",
    "zeros fed back": "y.fed:zero",
    "target before tanh": "target.y:bare",
    "state reset": "h_in-and-c_in:initial",
    "h reset": "h.carry:initial",
    "c reset": "c.carry:initial",
    "target unshared": "W_target-not-shared",
    "tilde unshared": "W_tilde+b_tilde-not-shared",
    "all unshared": "W_target+W_tilde+b_tilde-not-shared",
    "cell unshared": "W+R-not-shared",
    "target of one step unshared": "W_target-not-shared",
}
# Of a decoder with additive scores, whose cell takes in the context.
ADDITIVE_FAULTS = {
    "no tanh": "curve-of-scores:linear",
    "query and keys exchanged": "W_q-and-W_k:exchanged",
    "keys not projected": "W_k.keys:as-they-are",
    "query not projected": "W_q.query:query",
    "context of keys": "values:projected-by-W_k",
    "summed": "v_a:one",
    "multiplied": "equation-of-scores:v_a-.-tanh(W_q-h-*-W_k-enc)",
    "dot product": "equation-of-scores:(W_q-h)-.-(W_k-enc)",
    "tanh outside": "equation-of-scores:tanh(v_a-.-(W_q-h-+-W_k-enc))",
    "normalised": "equation-of-scores:v_a-/-|v_a|-.-tanh(W_q-h-+-W_k-enc)",  # as BahdanauAttention(normalize=True)
    "scaled by U": "softmax.scores:times-1/sqrt(U)",
    "softmax over one": "softmax:over-one-place",
    "softmax over batch": "softmax:over-the-batch",
    "not masked": "mask:not",
    "attends after": "attends:after-the-cell",
    "as AttentionWrapper": "attends:after-the-cell + cell-input:exchanged",
    "cell state": "query:previous-c",
    "initial state": "softmax.scores:first-held",  # what scores of h0 at every step are
    "cell exchanged": "cell-input:exchanged",
    "cell without context": "cell.context:zero",
    "old context into the cell": "cell.context:previous",
    "output without context": "join.context:zero",
    "exchanged": "joined:exchanged",
    "not fed back": "y.fed:initial",
}
