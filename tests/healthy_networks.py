"""Healthy networks: layers, directions, lengths, projections and gradients by hand, in as many styles as engineers
write them, none of them wrong.

Each is a function of a problem that gives every tensor of its case by name. A style is a way to do each part; what is
around the parts is written once, apart from the backends and from the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from healthy_ports import (
    add_backward,
    add_blocks,
    add_by_magnitude,
    add_compensated,
    add_forward,
    add_halves,
    add_lanes,
    add_pairwise,
    add_shuffled,
    bias_first,
    columns,
    einsum_whole,
    einsums,
    fused,
    fused_with_bias,
    per_gate,
    projected_before,
    recurrent_first,
    sigmoid_branches,
    sigmoid_plain,
    sigmoid_stable,
    sigmoid_tanh,
    split_products,
    stacked_gates,
    summed,
    tanh_exp,
    tanh_expm1,
    update_added_first,
    update_fma,
    update_leaky,
    update_plain,
)

from lockstep.harness.cases.tensors import Lane, lanes, name_of, tensors_of

Arrays = dict[str, np.ndarray]


# -- past a sequence's end: (valid (B, 1), new, old) -> what is kept ----


def kept_where(valid, new, old):
    return np.where(valid, new, old)


def kept_by_products(valid, new, old):
    mask = valid.astype(new.dtype)
    return mask * new + (1 - mask) * old


def kept_by_rows(valid, new, old):
    """As packed sequences do: only the rows that run are touched."""
    kept = np.broadcast_to(old, new.shape).copy()
    kept[valid[:, 0]] = new[valid[:, 0]]
    return kept


# -- projections: (P, m) -> h ----


def project_matmul(P, m):
    return m @ P.T


def project_columns(P, m):
    return (P @ m.T).T


def project_summed(add_up):
    return lambda P, m: add_up(m.T[:, :, None] * P.T[:, None])


# -- slopes from outputs ----


def slopes_plain(a, u):
    """Of a sigmoid a, and of a tanh u."""
    return a * (1 - a), 1 - u * u


def slopes_of_squares(a, u):
    return a - a * a, (1 - u) * (1 + u)


# -- a weight's gradient: (d (T, B, m), operand (T, B, n)) -> (m, n) ----


def outer_last_first(d, operand):
    return add_backward(np.stack([d_t.T @ o_t for d_t, o_t in zip(d, operand, strict=True)]))


def outer_first_first(d, operand):
    total = np.zeros((d.shape[-1], operand.shape[-1]), d.dtype)
    for d_t, o_t in zip(d, operand, strict=True):
        total += d_t.T @ o_t
    return total


def outer_whole(d, operand):
    """One product for all timesteps."""
    return d.reshape(-1, d.shape[-1]).T @ operand.reshape(-1, operand.shape[-1])


def outer_einsum(d, operand):
    return np.einsum("tbm,tbn->mn", d, operand)


def outer_columns(d, operand):
    return (operand.reshape(-1, operand.shape[-1]).T @ d.reshape(-1, d.shape[-1])).T.copy()


def outer_each_sequence(d, operand):
    """Sequence by sequence, each over all its timesteps."""
    return add_forward(np.stack([d[:, n].T @ operand[:, n] for n in range(d.shape[1])]))


def outer_pairwise(d, operand):
    return add_pairwise(np.stack([d_t.T @ o_t for d_t, o_t in zip(d, operand, strict=True)]))


@dataclass(frozen=True)
class Parts:
    """A way to do each part of a network."""

    prepare: Callable[..., Callable[..., np.ndarray]] = split_products
    sigmoid: Callable[[np.ndarray], np.ndarray] = sigmoid_plain
    tanh: Callable[[np.ndarray], np.ndarray] = np.tanh
    update: Callable[..., np.ndarray] = update_plain
    kept: Callable[..., np.ndarray] = kept_where
    project: Callable[..., np.ndarray] = project_matmul
    slopes: Callable[..., tuple[np.ndarray, np.ndarray]] = slopes_plain
    outer: Callable[..., np.ndarray] = outer_last_first
    each_alone: bool = False  # whether sequences run one by one


# In float32 and float64; what is planted here in NumPy runs on every machine.
STYLES = {
    "plain": Parts(),
    "fused kernel": Parts(prepare=fused, outer=outer_whole),
    "bias as a column, tanh only": Parts(prepare=fused_with_bias, sigmoid=sigmoid_tanh, outer=outer_einsum),
    "projected before": Parts(prepare=projected_before, update=update_added_first, outer=outer_first_first),
    "recurrent part first": Parts(prepare=recurrent_first, sigmoid=sigmoid_stable, outer=outer_columns),
    "bias first": Parts(prepare=bias_first, kept=kept_by_products, slopes=slopes_of_squares),
    "columns": Parts(prepare=columns, project=project_columns, outer=outer_columns),
    "packed": Parts(kept=kept_by_rows, sigmoid=sigmoid_branches, outer=outer_whole),
    "gate by gate": Parts(prepare=per_gate, tanh=tanh_exp, outer=outer_pairwise),
    "stacked gates": Parts(prepare=stacked_gates, slopes=slopes_of_squares, outer=outer_each_sequence),
    "einsum": Parts(prepare=einsums, outer=outer_einsum),
    "einsum, optimised": Parts(prepare=einsum_whole, tanh=tanh_expm1, outer=outer_einsum),
    "fused multiply-add": Parts(update=update_fma, prepare=fused, slopes=slopes_of_squares),
    "leaky": Parts(update=update_leaky, outer=outer_first_first, kept=kept_by_products),
    "each sequence alone": Parts(each_alone=True),
    "sums forward": Parts(prepare=partial(summed, add_forward), project=project_summed(add_forward)),
    "sums backward": Parts(prepare=partial(summed, add_backward), project=project_summed(add_backward)),
    "sums by halves": Parts(prepare=partial(summed, add_halves), project=project_summed(add_halves)),
    "sums in lanes": Parts(prepare=partial(summed, add_lanes), outer=outer_each_sequence),
    "sums in blocks": Parts(prepare=partial(summed, add_blocks), sigmoid=sigmoid_tanh, outer=outer_pairwise),
    "sums by magnitude": Parts(prepare=partial(summed, add_by_magnitude), kept=kept_by_rows),
    "sums shuffled": Parts(prepare=partial(summed, add_shuffled), tanh=tanh_exp, outer=outer_columns),
    "sums compensated": Parts(prepare=partial(summed, add_compensated), project=project_summed(add_compensated)),
}


def takes(case):
    """Whether the styles run a case: the standard cell, in a dtype that NumPy computes in."""
    lstm = case.lstm
    standard = (lstm.activation, lstm.recurrent_activation, lstm.cell_activation) == ("tanh", "sigmoid", "tanh")
    special = lstm.peephole or lstm.input_forget or lstm.cell_clip is not None
    return case.attention_decoder is None and standard and not special and case.run.dtype in {"float32", "float64"}


class Walk:
    """One lane in its own order of time: what its steps gave, kept for the way back."""

    def __init__(self, parts, weights, x, h0, c0, lengths, resets=None):
        """Walk over x (T, B, I) from h0 and c0; where ``resets`` (T, B) has it, from zeros."""
        self.parts, self.w, self.x = parts, weights, x
        T, B = x.shape[:2]
        ends = np.full(B, T) if lengths is None else lengths
        self.valid = (np.arange(T)[:, None] < ends)[..., None]
        self.anew = self.valid & (np.zeros((T, B), bool) if resets is None else resets)[..., None]
        z = parts.prepare(x, weights["W"], weights["R"], weights["b"])
        h, c = h0, c0
        rows = {name: [] for name in ("h_before", "c_before", "gates", "m", "c", "h")}
        for t in range(T):
            h, c = np.where(self.anew[t], 0, h), np.where(self.anew[t], 0, c)
            z_i, z_f, z_g, z_o = np.split(z(t, h), 4, axis=1)
            i, f, g, o = parts.sigmoid(z_i), parts.sigmoid(z_f), parts.tanh(z_g), parts.sigmoid(z_o)
            c_new = parts.update(f, c, i, g)
            m = o * parts.tanh(c_new)
            h_new = parts.project(weights["P"], m) if "P" in weights else m
            rows["h_before"].append(h)
            rows["c_before"].append(c)
            h, c = parts.kept(self.valid[t], h_new, h), parts.kept(self.valid[t], c_new, c)
            for name, array in (("gates", (i, f, g, o)), ("m", m), ("c", c), ("h", h)):
                rows[name].append(np.stack(array) if name == "gates" else array)
        self.rows = {name: np.stack(arrays) for name, arrays in rows.items()}

    def shown(self):
        """What is compared of each timestep, in this lane's order, and the final states."""
        rows = self.rows
        gates = {name: np.where(self.valid, rows["gates"][:, k], 0) for k, name in enumerate("ifgo")}
        finals = {"c_n": rows["c"][-1], "h_n": rows["h"][-1]}
        return gates | {"c": rows["c"], "h": np.where(self.valid, rows["h"], 0)}, finals

    def back(self, dh_out, dc):
        """Go back from gradients of h (T, B, P) and of the final c: of x, of the start, and by weight and timestep."""
        parts, w, rows = self.parts, self.w, self.rows
        dh = np.zeros_like(dh_out[0])
        dxs, dzs, dms = [], [], []
        for t in reversed(range(len(self.x))):
            valid, (i, f, g, o) = self.valid[t], rows["gates"][t]
            c_before, u = rows["c_before"][t], parts.tanh(rows["c"][t])
            d_new, dc_new = np.where(valid, dh + dh_out[t], 0), np.where(valid, dc, 0)
            d_m = d_new @ w["P"] if "P" in w else d_new
            slope_o, slope_u = parts.slopes(o, u)
            (slope_i, slope_g), (slope_f, _) = parts.slopes(i, g), parts.slopes(f, u)
            d_c = dc_new + d_m * o * slope_u
            dz = np.concatenate(
                [d_c * g * slope_i, d_c * c_before * slope_f, d_c * i * slope_g, d_m * u * slope_o], axis=1
            )
            dxs.append(dz @ w["W"])
            dzs.append(dz)
            dms.append(d_new)
            dh, dc = np.where(valid, dz @ w["R"], dh), np.where(valid, d_c * f, dc)
            dh, dc = np.where(self.anew[t], 0, dh), np.where(self.anew[t], 0, dc)
        dx, dz, d_new = (np.stack(arrays[::-1]) for arrays in (dxs, dzs, dms))
        pairs = {"W": (dz, self.x), "R": (dz, rows["h_before"])}
        if "P" in w:
            pairs["P"] = (d_new, rows["m"])
        ones = np.ones((*dz.shape[:2], 1), dz.dtype)
        return dx, dh, dc, pairs | {"b": (dz, ones)}


def turned(array, lengths, reverse):
    """Turn (T, B, n) round within lengths for a reverse lane; past a sequence's end nothing moves."""
    if not reverse:
        return array
    found = array.copy()
    for n in range(array.shape[1]):
        end = len(array) if lengths is None else int(lengths[n])
        found[:end, n] = array[:end, n][::-1]
    return found


def run(problem, parts=STYLES["plain"]):
    """Every tensor of a problem by name, each part computed in the way that is asked for."""
    with np.errstate(over="ignore"):
        if parts.each_alone and problem.dh is None and problem.x.shape[1] > 1:
            return _each_alone(problem, parts)
        return _run(problem, parts)


def _each_alone(problem, parts):
    """Run sequences one by one, and put them side by side; gradients of weights would be sums over them."""
    alone = [_run(problem, parts, slice(n, n + 1)) for n in range(problem.x.shape[1])]
    return {name: np.concatenate([found[name] for found in alone], axis=-2) for name in alone[0]}


def _run(problem, parts, sequences=slice(None)):
    p, lstm = problem, problem.case.lstm
    lengths = None if p.lengths is None else p.lengths[sequences]
    walks: dict[Lane, Walk] = {}
    found: Arrays = {}
    below = p.x[:, sequences]
    states = {name: getattr(p, name)[None] if lstm.single else getattr(p, name) for name in ("h0", "c0")}
    for k, lane in enumerate(lanes(lstm)):
        weights = p.weights[lane.layer][k % len(lstm.directions)].arrays()
        start = (states[name][k][sequences] for name in ("h0", "c0"))
        resets = None if p.resets is None else p.resets[:, sequences]
        walks[lane] = Walk(parts, weights, turned(below, lengths, lane.reverse), *start, lengths, resets)
        timed, finals = walks[lane].shown()
        timed = {kind: turned(array, lengths, lane.reverse) for kind, array in timed.items()}
        found |= {name_of(kind, lane, lstm): array for kind, array in {**timed, **finals}.items()}
        if (k + 1) % len(lstm.directions) == 0:
            layer = [found[name_of("h", Lane(lane.layer, reverse), lstm)] for reverse in lstm.directions]
            below = _joined(layer, lstm.merge_mode)
    if lstm.merge_mode != "concat":
        found["h"] = below
    if p.dh is not None:
        found |= _gradients(p, parts, walks, found)
    return found


def _joined(outputs, mode):
    """What a layer hands on of the outputs of its directions."""
    if mode == "concat":
        return np.concatenate(outputs, axis=-1)
    forward, reverse = outputs
    both = forward * reverse if mode == "mul" else forward + reverse
    return both / both.dtype.type(2) if mode == "ave" else both


def _of_direction(d, k, outputs, lstm):
    """The gradient of one direction's output, of that of the layer's."""
    if lstm.merge_mode == "concat":
        return np.split(d, len(lstm.directions), axis=-1)[k]
    if lstm.merge_mode == "mul":
        return d * outputs[1 - k]
    return d / d.dtype.type(2) if lstm.merge_mode == "ave" else d


def _gradients(p, parts, walks, outputs):
    lstm, found = p.case.lstm, {}
    D = len(lstm.directions)
    d_final = p.dc[None] if lstm.single else p.dc
    above = p.dh
    for layer in reversed(range(lstm.num_layers)):
        dx = None
        for k, reverse in enumerate(lstm.directions):
            lane = Lane(layer, reverse)
            d_lane = _of_direction(
                above, k, [outputs[name_of("h", Lane(layer, r), lstm)] for r in lstm.directions], lstm
            )
            of_x, dh0, dc0, pairs = walks[lane].back(turned(d_lane, p.lengths, reverse), d_final[layer * D + k])
            of_x = turned(of_x, p.lengths, reverse)
            dx = of_x if dx is None else dx + of_x
            found |= {name_of("dh0", lane, lstm): dh0, name_of("dc0", lane, lstm): dc0}
            for name, pair in pairs.items():
                d, operand = (turned(array, p.lengths, reverse) for array in pair)
                by_step = np.stack([d_t.T @ o for d_t, o in zip(d, operand, strict=True)])
                for kind, array in ((f"d{name}", parts.outer(*pair)), (f"d{name}_t", by_step)):
                    found[name_of(kind, lane, lstm)] = array[..., 0] if name == "b" else array
        above = dx
    wanted = tensors_of(p.case)
    return {name: array for name, array in {**found, "dx": above}.items() if name in wanted}
