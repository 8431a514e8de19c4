# ruff: noqa: C901, PLR0912, PLR0915, C416 (each slip stands where it strikes)
"""LSTMs by hand, with slips: networks forward, one layer backward, attention decoders. NumPy, float32 at the end."""

from __future__ import annotations

import numpy as np


def sig(z):
    return 1 / (1 + np.exp(-z))


ACT = {
    "sigmoid": sig,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "hard_sigmoid_0.2": lambda z: np.clip(0.2 * z + 0.5, 0, 1),
    "hard_sigmoid_1/6": lambda z: np.clip(z / 6 + 0.5, 0, 1),
}


def reorder(a, order):
    parts = dict(zip(order, np.split(a, 4), strict=True))
    return np.concatenate([parts[g] for g in "ifgo"])


def per_gate(a, change, gates="ifgo"):
    return np.concatenate([change(p) if g in gates else p for g, p in zip("ifgo", np.split(a, 4), strict=True)])


def lane_weights(problem, layer, d, where):
    """A lane's weights, with the slips of ``where``: {(layer, d) or "all": {name: change}}."""
    arrays = {k: v.astype(float) for k, v in problem.weights[layer][d].arrays().items()}
    for key in ((layer, d), "all"):
        for name, change in where.get(key, {}).items():
            arrays[name] = change(arrays[name])
    return arrays


def network(problem, slip):
    """h, h_n, c_n of a problem; ``slip`` is a dict of what is done otherwise, ``at`` the lanes in which it is."""
    lstm, (T, B, _, _) = problem.case.lstm, problem.case.shape
    D, lengths = len(lstm.directions), problem.lengths
    ends = np.full(B, T) if lengths is None else lengths
    if slip.get("lengths"):
        ends = slip["lengths"](ends, T)
    h0, c0 = problem.states("h0").astype(float), problem.states("c0").astype(float)
    if "start" in slip:
        h0, c0 = slip["start"](h0, c0)
    below, h_n, c_n = problem.x.astype(float), [], []
    for layer in range(lstm.num_layers):
        outs = []
        for d, reverse in enumerate(lstm.directions):
            k = layer * D + d
            source = slip.get("weights_of", lambda layer, d: (layer, d))(layer, d)
            w = lane_weights(problem, *source, slip.get("w", {}))
            here = slip if slip.get("at", lambda layer, d: True)(layer, d) else {}
            gate, cand, cell = ACT[lstm.recurrent_activation], ACT[lstm.activation], ACT[lstm.cell_activation]
            gate = here.get("gate", gate)
            cand, cell = here.get("cand", cand), here.get("cell", cell)
            out = np.zeros((T, B, lstm.output_size))
            hs, cs = h0[k].copy(), c0[k].copy()
            for b in range(B):
                n = int(ends[b])
                order = list(range(n))[::-1] if reverse else list(range(n))
                if reverse and here.get("whole"):
                    order = [t for t in range(T)][::-1][:n]
                if reverse and here.get("forward"):
                    order = list(range(n))
                h, c = h0[k, b], c0[k, b]
                for step, t in enumerate(order):
                    x_t = below[t, b]
                    if here.get("late"):
                        x_t = below[order[step - 1], b] if step else np.zeros_like(x_t)
                    wx, rh = w["W"] @ x_t, w["R"] @ h
                    if here.get("no_rh_first") and step == 0:
                        rh = 0 * rh
                    z = dict(zip("ifgo", np.split(wx + rh + w["b"], 4), strict=True))
                    peep = here.get("peep", ("c", "c", "new"))
                    if "p" in w:
                        z["i"] = z["i"] + w["p"][0] * (c if peep[0] == "c" else h)
                        z["f"] = z["f"] + w["p"][1] * (c if peep[1] == "c" else h)
                    i, f, g = gate(z["i"]), gate(z["f"]), cand(z["g"])
                    if lstm.input_forget and not here.get("uncoupled"):
                        f = 1 - i
                    if here.get("f_is_1_minus_o"):
                        f = 1 - gate(z["o"])
                    kept = h if here.get("f_keeps_h") else c
                    new = f * kept + (f if here.get("g_by_f") else i) * g
                    if here.get("i_minus"):
                        new = f * kept - i * g
                    raw = new
                    if lstm.cell_clip and not here.get("noclip"):
                        bound = here.get("bound", 1.0) * lstm.cell_clip
                        new = np.clip(new, -bound, bound)
                    if "p" in w:
                        z["o"] = z["o"] + w["p"][2] * {"new": new, "c": c, "raw": raw, "none": 0 * c}[peep[2]]
                    o = gate(z["o"])
                    u = cell(c if here.get("old_c") else raw if here.get("raw_out") else new)
                    m = o * (new if here.get("no_cell_act") else u)
                    if here.get("g_out"):
                        m = o * g
                    if "P" in w:
                        hp = w["P"] @ m
                        hp = np.tanh(hp) if here.get("tanh_p") else hp
                    else:
                        hp = m
                    out[t, b] = hp
                    if here.get("clip_carried_only"):
                        new = np.clip(new, -0.5, 0.5)
                    if here.get("reset_c"):
                        new = c0[k, b]
                    h, c = (np.zeros_like(hp) if here.get("zero_h") else hp), new
                    if here.get("reset_h"):
                        h = h0[k, b]
                hs[b], cs[b] = h, c
            if reverse and here.get("not_back"):
                out = out[::-1]
            h_n.append(hs)
            c_n.append(cs)
            outs.append(out)
        if slip.get("join") and (layer < lstm.num_layers - 1 or slip["join"][1]):
            outs = slip["join"][0](outs)
        below = np.concatenate(outs, axis=-1)
        if layer < lstm.num_layers - 1 and "between" in slip:
            below = slip["between"](below)
    finals = {"h_n": np.stack(h_n), "c_n": np.stack(c_n)}
    if "finals" in slip:
        finals = {name: array[slip["finals"]] for name, array in finals.items()}
    if lstm.single:
        finals = {name: array[0] for name, array in finals.items()}
    return {"h": below, **finals}


def backward(problem, s):
    """Forward as it should be, and gradients by hand of one plain layer, with slips by name in the set ``s``."""
    T, B, _, H = problem.case.shape
    W, R, b = (a.astype(float) for a in (problem.W, problem.R, problem.b))
    x, h, c = problem.x.astype(float), problem.h0.astype(float), problem.c0.astype(float)
    dh_out, dc_n = problem.dh.astype(float), problem.dc.astype(float)
    saved, hs = [], []
    for t in range(T):
        z = x[t] @ W.T + h @ R.T + b
        i, f, g, o = sig(z[:, :H]), sig(z[:, H : 2 * H]), np.tanh(z[:, 2 * H : 3 * H]), sig(z[:, 3 * H :])
        c2 = f * c + i * g
        h2 = o * np.tanh(c2)
        saved.append((z, i, f, g, o, c, c2, h, h2))
        h, c = h2, c2
        hs.append(h)
    dW, dR, db = np.zeros_like(W), np.zeros_like(R), np.zeros_like(b)
    dx, dh_next, dc_next = np.zeros_like(x), np.zeros((B, H)), dc_n.copy()
    if "dc_n lost" in s:
        dc_next *= 0
    for t in reversed(range(T)):
        z, i, f, g, o, c_prev, c_new, h_prev, h_new = saved[t]
        dh = dh_out[t] + (0 if "no dh_next" in s else dh_next)
        u = np.tanh(c_new)
        do = dh * u
        if "do uses c" in s:
            do = dh * c_new
        slope_u = 1 if "no tanh slope" in s else 1 - (c_new**2 if "slope of c" in s else u**2)
        dc = dh * o * slope_u + (0 if "no dc_next" in s else dc_next)
        if "no dh to dc" in s:
            dc = dc_next
        di, df, dg = dc * g, dc * (c_new if "df uses new c" in s else c_prev), dc * i
        if "dg uses f" in s:
            dg = dc * f
        slopes = [i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)]
        if "g slope sigmoid" in s:
            slopes[2] = g * (1 - g)
        if "no i slope" in s:
            slopes[0] = np.ones_like(i)
        if "no g slope" in s:
            slopes[2] = np.ones_like(g)
        if "o slope tanh" in s:
            slopes[3] = 1 - o**2
        dz = np.concatenate([d * sl for d, sl in zip((di, df, dg, do), slopes, strict=True)], axis=1)
        dW += dz.T @ x[t]
        dR += dz.T @ (h_new if "dR uses new h" in s else h_prev)
        if not ("db last" in s and t < T - 1):
            db += dz.mean(0) if "db mean" in s else dz.sum(0)
        dx[t] = dz @ W
        dh_next = dz @ R
        if "dh_next halves" in s:
            dh_next = dh_next * 0.5
        dc_next = dc * (i if "dc_next by i" in s else f)
        if "clip dz" in s:
            dh_next = np.clip(dh_next, -0.1, 0.1)
        if "truncated" in s and t == T - 2:
            dh_next, dc_next = 0 * dh_next, 0 * dc_next
    if "dx reversed" in s:
        dx = dx[::-1]
    if "dW mean" in s:
        dW = dW / B
    if "dW swapped" in s:
        dW = reorder(dW, "igfo")
    if "all over T" in s:
        dW, dR, db = dW / T, dR / T, db / T
    if "dh0 zero" in s:
        dh_next = 0 * dh_next
    if "dR transposed" in s:
        dR = per_gate(dR, lambda a: a.T)
    return {
        "h": np.stack(hs), "h_n": h, "c_n": c, "dx": dx, "dh0": dh_next, "dc0": dc_next, "dW": dW, "dR": dR, "db": db,
    }  # fmt: skip


def decoder(problem, slip):
    """y, logit (and h, c) of an attention decoder; ``slip`` is a dict of what is done otherwise."""
    w = {k: v.astype(float) for k, v in problem.weights.arrays().items()}
    for name, change in slip.get("w", {}).items():
        w[name] = change(w[name])
    enc, T = problem.enc.astype(float), problem.case.run.timesteps
    S, B, _ = enc.shape
    H = w["R"].shape[1]
    ends = np.full(B, S) if problem.lengths is None else problem.lengths
    ends = slip["lengths"](ends, S) if "lengths" in slip else ends
    valid = np.arange(S)[None] < ends[:, None]
    h, c, y = problem.h0.astype(float), problem.c0.astype(float), problem.y0.astype(float)
    y0, context_before = y, None
    ys, logits = [], []
    for t in range(T):
        fed = slip["fed"](y, t) if "fed" in slip else y
        h_old, c_old = h, c
        z = fed @ w["W"].T + h @ w["R"].T + w["b"]
        i, f, g, o = sig(z[:, :H]), sig(z[:, H : 2 * H]), np.tanh(z[:, 2 * H : 3 * H]), sig(z[:, 3 * H :])
        c = f * (h if slip.get("f_keeps_h") else c) + i * g
        h = o * (c if slip.get("no_tanh") else np.tanh(c_old if slip.get("old_c") else c))
        query = {"h": h, "c": c, "old h": h_old, "tanh c": np.tanh(c)}[slip.get("query", "h")]
        if "W_a" in w:
            query = query @ w["W_a"].T
        scores = np.einsum("sbe,be->bs", enc, query) * slip.get("scale", 1.0)
        if slip.get("tanh_scores"):
            scores = np.tanh(scores)
        masked = np.where(valid, scores, slip.get("fill", -np.inf))
        a = np.exp(masked - masked.max(1, keepdims=True))
        a = a / a.sum(1, keepdims=True)
        if slip.get("sigmoid_weights"):
            a = sig(scores) * valid
        if slip.get("weights_reversed"):
            a = a[:, ::-1]
        context = np.einsum("bs,sbe->be", a, enc)
        if slip.get("mean_context"):
            context = context / S
        used = context
        if slip.get("old_context"):
            used = np.zeros_like(context) if context_before is None else context_before
        context_before = context
        state = {"h": h, "old h": h_old, "c": c}[slip.get("joined", "h")]
        joined = np.concatenate([state, used] if slip.get("exchanged") else [used, state], axis=1)
        bare = joined @ w["W_tilde"].T + w["b_tilde"]
        y = slip.get("act", np.tanh)(bare)
        logit = {"y": y, "bare": bare}[slip.get("target", "y")] @ w["W_target"].T
        ys.append(y)
        logits.append(logit)
        if "feedback" in slip:
            y = slip["feedback"](y, y0, bare)
        if slip.get("reset_h"):
            h = problem.h0.astype(float)
    return {"y": np.stack(ys), "logit": np.stack(logits)}
