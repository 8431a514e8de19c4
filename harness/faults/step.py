"""One timestep of any execution: its weights read, its gates, its cell, and the variances carried through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.gates import GATES, reorder, split_gates
from lockstep.harness.cases.problem import Problem
from lockstep.harness.faults.execution import ONCE, Execution, Four
from lockstep.harness.faults.rules import (
    BATCHES,
    CELLS,
    FEATURE_RULES,
    HIDDEN,
    INITIAL,
    KERNEL_PARTS,
    KERNELS,
    LAYOUTS,
    rounded,
    time_rule,
)
from lockstep.harness.reference.curves import CURVES, sigmoid
from lockstep.harness.reference.noise import Noise
from lockstep.harness.weights.layout import uneven

_EPS = 1e-6  # relative, of the differences that stand for derivatives
_SIGMOIDS = "sigmoid"
# Features of x that are computed, and how many roundings that takes.
_COMPUTED_FEATURES = frozenset({"tanh", "squared", "centred"})
_FEATURE_ROUNDING = 16


def read_weights(problem: Problem, execution: Execution) -> tuple[Array, Array, Array]:
    """W (4H, I), R (4H, H) and b (4H,) in canonical form, as an execution reads them."""
    e = execution
    precision = Noise.of(problem.case.run.dtype).precision
    W, R, b = (a.astype(precision) for a in (problem.W, problem.R, problem.b))
    if e.first_bias_gain != 1.0 or e.second_bias_gain != 1.0:
        first, second = uneven(problem.b)
        b = e.first_bias_gain * first.astype(precision) + e.second_bias_gain * second.astype(precision)
    W, R = KERNELS[e.kernels](W, R)
    W, R = KERNEL_PARTS[e.W_part](LAYOUTS[e.W_layout](W)), KERNEL_PARTS[e.R_part](LAYOUTS[e.R_layout](R))
    b = LAYOUTS[e.b_layout](b)
    W = _read_blocks(W, e.W_gates, e.W_blocks, e.W_gain)
    R = _read_blocks(R, e.R_gates, e.R_blocks, e.R_gain)
    b = _read_blocks(b, e.b_gates, e.b_blocks, e.b_gain)
    forget = (e.forget_bias - 1.0) * problem.case.lstm.forget_bias
    if any(e.constant) or forget:
        H = len(b) // 4
        constants = np.array(e.constant, precision)
        constants[1] += forget
        b = b + np.repeat(constants, H)
    return rounded(W, e.W_format), rounded(R, e.R_format), rounded(b, e.b_format)


def _read_blocks(M: Array, order: str, taken: str, gain: Four) -> Array:
    """The blocks of (4H, ·) that the gates take, times their gains, where blocks are read as stacked in an order."""
    if (order, taken) != (GATES, GATES):
        M = reorder(reorder(M, order), GATES, taken)
    if gain == ONCE:
        return M
    factors = np.repeat(np.array(gain, M.dtype), len(M) // 4)
    return M * (factors if M.ndim == 1 else factors[:, None])


class DeviantCell:
    """One step of an execution, its weights read."""

    def __init__(self, problem: Problem, execution: Execution, noise: Noise) -> None:
        """Read a problem's weights as an execution does."""
        self.e, self.noise = execution, noise
        W, R, self.b = read_weights(problem, execution)
        self.operands = execution.operands_format
        W, R = rounded(W, self.operands), rounded(R, self.operands)
        self.Wt, self.Rt = np.ascontiguousarray(W.T), np.ascontiguousarray(R.T)
        self.growth = noise.sum_growth(len(self.Wt) + len(self.Rt))
        self.H = R.shape[1]
        curve = CURVES[execution.cell_curve].value
        self.cell, self.curve = CELLS[execution.cell], curve
        hidden = HIDDEN[execution.hidden]
        self.hidden = lambda o, c, before: hidden(o, c, before, curve)
        self.x = self._inputs(problem, execution)
        self.zx = rounded(self.x, self.operands) @ self.Wt + self.b
        self.peeps = any(execution.peephole)

    def _inputs(self, problem: Problem, e: Execution) -> Array:
        x = problem.x.astype(self.noise.precision)
        if e.x_batch == e.x_time == e.x_features == "given" and e.x_gain == 1.0 and not e.x_format:
            return x
        x = time_rule(e.x_time)(BATCHES[e.x_batch](x), problem.lengths)
        return rounded(FEATURE_RULES[e.x_features](x) * e.x_gain, e.x_format)

    def initial(self, problem: Problem, e: Execution) -> tuple[Array, Array]:
        """The initial h and c (B, H), as an execution takes them."""
        h0, c0 = problem.h0.astype(self.noise.precision), problem.c0.astype(self.noise.precision)
        h, c = INITIAL[e.h0](h0, c0), INITIAL[e.c0](c0, h0)
        return rounded(h, e.h_format), rounded(c, e.c_format)

    def step(self, t: int, h: Array, c: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Of the state that is taken in: z, gates (B, 4H), new c, tanh of it, new h."""
        e, H = self.e, self.H
        z = self.zx[t] + rounded(h, self.operands) @ self.Rt
        if e.peephole_old:
            z[:, 3 * H :] += e.peephole_old * c
        if self.peeps:
            z[:, :H] += e.peephole[0] * c
            z[:, H : 2 * H] += e.peephole[1] * c
        z = np.clip(z, -e.z_clip, e.z_clip) if e.z_clip < np.inf else z
        z = rounded(z, e.z_format)
        a = self.activate(z)
        new_c = self._new_c(a, c)
        if e.peephole[2]:
            z[:, 3 * H :] += e.peephole[2] * new_c
            a[:, 3 * H :] = self.activate(z)[:, 3 * H :]
        u = self.curve(new_c)
        new_h = self.hidden(a[:, 3 * H :], new_c, c)
        if e.h_clip < np.inf:
            new_h = np.clip(new_h, -e.h_clip, e.h_clip)
        if e.h_mix:
            new_h = (1 - e.h_mix) * new_h + e.h_mix * h
        if e.c_clip_late < np.inf:
            new_c = np.clip(new_c, -e.c_clip_late, e.c_clip_late)
        if e.c_mix:
            new_c = (1 - e.c_mix) * new_c + e.c_mix * c
        return z, a, new_c, u, rounded(new_h, e.h_format)

    def _new_c(self, a: Array, c: Array) -> Array:
        e = self.e
        i, f, g, _ = split_gates(a)
        new_c = self.cell(i, f, g, c)
        if e.c_clip < np.inf:
            new_c = np.clip(new_c, -e.c_clip, e.c_clip)
        return rounded(new_c, e.c_format)

    def activate(self, z: Array) -> Array:
        """The gates (..., 4H) of pre-activations."""
        e, H = self.e, self.H
        a = sigmoid(z)
        for k, name in enumerate(e.curves):
            part = slice(k * H, (k + 1) * H)
            if name != _SIGMOIDS:
                a[..., part] = CURVES[name].value(z[..., part])
            if e.gain[k] != 1.0 or e.offset[k]:
                a[..., part] = e.gain[k] * a[..., part] + e.offset[k]
        return rounded(a, e.gates_format)

    def variance(
        self,
        t: int,
        fed: tuple[Array, Array],
        fed_var: tuple[Array, Array],
        z: Array,
        a: Array,
        new_c: Array,
        new_h: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """Carry variances through ``step``: of gates, c, tanh(c) and h. ``harness.reference.noise`` has the rules."""
        (h, c), (h_var, c_var), H, u2 = fed, fed_var, self.H, self.noise.u2
        # The dot product: the squares of its terms, grown by summing them; what h carries; its own rounding.
        Wt2, Rt2 = self.Wt * self.Wt, self.Rt * self.Rt
        of_x = self.growth + (_FEATURE_ROUNDING * u2 if self.e.x_features in _COMPUTED_FEATURES else 0)
        z_var = of_x * (self.x[t] * self.x[t]) @ Wt2 + self.growth * self.b * self.b
        z_var = z_var + (self.growth * (h * h) + h_var) @ Rt2 + u2 * (z * z)
        if self.e.peephole_old:
            z_var[:, 3 * H :] += self.e.peephole_old**2 * (c_var + u2 * c * c)
        if self.peeps:
            for k, weight in zip((0, 1, 3), self.e.peephole, strict=True):
                part = z_var[:, k * H : (k + 1) * H]
                part += weight * weight * (c_var + u2 * c * c)
        # Any curve may stand here, so its slope is a difference. First order overshoots: the gate's size is the cap.
        near = _EPS * np.maximum(1, np.abs(z))
        slope = (self.activate(z + near) - self.activate(z - near)) / (2 * near)
        size = np.maximum(np.abs(a), 1)
        a_var = np.fmin(slope * slope * z_var + u2 * size * size, size * size)
        i, f, g, o = split_gates(a)
        gate_vars = split_gates(a_var)
        c_new_var = _through(self.cell, (i, f, g, c), (*gate_vars[:3], c_var))
        c_new_var = c_new_var + u2 * (np.square(f * c) + np.square(i * g) + np.square(new_c))
        u = self.curve(new_c)
        near = _EPS * np.maximum(1, np.abs(new_c))
        u_slope = (self.curve(new_c + near) - self.curve(new_c - near)) / (2 * near)
        u_var = u_slope * u_slope * c_new_var + u2 * np.maximum(1, u * u)
        h_new_var = _through(self.hidden, (o, new_c, c), (gate_vars[3], c_new_var, c_var))
        h_new_var = h_new_var + u2 * (np.square(new_h) + np.square(o))
        # As for gates: no wider than the range of h, or than h itself.
        cap = np.maximum(1, np.square(new_h))
        if self.e.c_mix or self.e.h_mix:
            c_new_var = (1 - self.e.c_mix) ** 2 * c_new_var + self.e.c_mix**2 * c_var
            h_new_var = (1 - self.e.h_mix) ** 2 * h_new_var + self.e.h_mix**2 * h_var
        return a_var, c_new_var, u_var, np.fmin(h_new_var, cap)


def _through(function: Callable[..., Array], values: tuple[Array, ...], variances: tuple[Array, ...]) -> Array:
    """The first-order variance of a function of several values, its derivatives taken as differences."""
    total: Array = np.zeros_like(values[0])
    for k, variance in enumerate(variances):
        # A central difference stands for the derivative by the k-th value.
        near = _EPS * np.maximum(1, np.abs(values[k]))
        up = function(*(v + near if j == k else v for j, v in enumerate(values)))
        down = function(*(v - near if j == k else v for j, v in enumerate(values)))
        total = total + np.square((up - down) / (2 * near)) * variance
    return total
