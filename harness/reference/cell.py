"""One timestep of one lane, forward and backward, with the variance of rounding beside each value.

With canonical weights, gates stacked i, f, g, o; s the recurrent activation, a the activation, k that of the cell:

    z_t = W x_t + R h_{t-1} + b        i = s(z_i + p_i c_{t-1})    f = s(z_f + p_f c_{t-1})    g = a(z_g)
    c_t = clip(f c_{t-1} + i g)        o = s(z_o + p_o c_t)
    m_t = o k(c_t)                     h_t = P m_t

Standard are s = sigmoid, a = k = tanh, no peepholes p, no clip, no projection P (h = m). Where the forget gate is
coupled to the input gate, f = 1 - i. Sources: Hochreiter and Schmidhuber (1997); the forget gate, Gers et al. (2000);
peepholes, Gers and Schmidhuber (2000); the projection, Sak et al. (2014); clip, projection and peepholes act where
TensorFlow's ``LSTMCell`` has them, coupling as in ONNX ``LSTM`` (``input_forget``).

The backward step is the chain rule over these lines. The rules for variances stand in ``harness.reference.noise``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.problem import Weights
from lockstep.harness.reference.activations import ACTIVATIONS, NEAR_SIGMA
from lockstep.harness.reference.noise import Noise, extent_of


class CellStep(NamedTuple):
    """What one forward step computes."""

    a: Array  # activated gates (B, 4H)
    raw: Array  # the new cell state before it is clipped (B, H)
    c: Array
    u: Array  # the cell state's activation
    m: Array  # o u, before the projection
    h: Array  # (B, P)


class Variances(NamedTuple):
    """The variances of a forward step's results."""

    a: Array
    c: Array
    h: Array


class Operands(NamedTuple):
    """What gradients are made of, of some timesteps; values or their variances, (K, B, ·) each."""

    dz: Array  # of the pre-activations
    dh: Array  # of the projected state, with what came from the step after
    x: Array
    h_before: Array
    c_before: Array
    c: Array
    a: Array

    @classmethod
    def each(cls, function: Callable[[Any], Array], arrays: Iterable[Any]) -> Operands:
        """Apply a function to each array, or to each list of chunks; what is exact has no variance."""
        return cls(*(None if a is None or a[0] is None else function(a) for a in arrays))  # type: ignore[arg-type]


class Slopes(NamedTuple):
    """The factors of the backward step, of one or several timesteps: it is linear in the cotangents."""

    z: Array  # (..., 4H): dz over the cotangent of c (i, f, g) or of m (o)
    c: Array  # (..., H): what of dm goes to dc
    f: Array  # (..., H): what of dc goes to the step before
    unclipped: Array | None  # (..., H)
    factors: Array  # (..., 4H): what stands beside each gate's own slope in ``z``
    gates: Array  # (..., 4H): each gate's own slope
    u: Array  # (..., H): that of the cell's activation


class SlopeVariances(NamedTuple):
    """Variances of slopes, with the rounding of the products they stand in; and their squares."""

    z: Array
    c: Array
    f: Array
    z2: Array
    c2: Array
    f2: Array
    near_clip: Array | None
    unclipped: Array | None


class Back(NamedTuple):
    """What one backward step computes, values or their variances."""

    dz: Array  # (B, 4H), of the pre-activations
    dh_before: Array  # (B, P), of the state that was taken in
    dc_before: Array  # (B, H)
    dm: Array  # (B, H), before the projection
    dh: Array  # (B, P), with what came from the step after
    dc_clipped: Array  # (B, H), of the cell state after clipping
    dc: Array  # (B, H), of that before


class Cell:
    """One lane's weights and equations, in the reference's precision."""

    def __init__(self, lstm: LSTM, weights: Weights, noise: Noise) -> None:
        """Take canonical weights; kernels are kept transposed, for products from the right."""

        def kept(array: Array) -> Array:
            return np.ascontiguousarray(noise.taken(array))

        self.noise, self.H = noise, lstm.hidden_size
        self.Wt, self.Rt, self.b = kept(weights.W.T), kept(weights.R.T), kept(weights.b)
        self.Wt2, self.Rt2 = self.Wt * self.Wt, self.Rt * self.Rt
        self.p = None if weights.p is None else kept(weights.p)
        self.Pt = None if weights.P is None else kept(weights.P.T)
        self.Pt2 = None if self.Pt is None else self.Pt * self.Pt
        self.clip = np.inf if lstm.cell_clip is None else noise.taken(np.array([lstm.cell_clip]))[0]
        self.gate, self.candidate = ACTIVATIONS[lstm.recurrent_activation], ACTIVATIONS[lstm.activation]
        self.curve, self.coupled = ACTIVATIONS[lstm.cell_activation], lstm.input_forget
        # o u is bounded where both are.
        self.cap = max(4 * self.gate.cap, 1.0) * self.curve.cap
        terms = len(self.Wt) + len(self.Rt) + (0 if self.p is None else 1)
        self.growth = noise.sum_growth(terms)

    # -- forward -------------------------------------------------------------------------------------------------

    def input_part(self, x: Array) -> Array:
        """W x + b, of one or several timesteps."""
        return x @ self.Wt + self.b

    def input_variance(self, x: Array, x_var: Array | None, extent: Any = 0) -> Array:
        """u² (log2(n) + 1) times the input's part of S, and what comes with the input; its extent is over all time."""
        of_x = self.growth * (x * x)
        z_var = (of_x if x_var is None else of_x + x_var) @ self.Wt2 + self.growth * (self.b * self.b)
        quantisation = self.noise.quantisation
        if quantisation is None:
            return z_var
        return z_var + quantisation.of_products(x, self.Wt, extent) + quantisation.of_bias(self.b)

    def pre_activation(self, zx: Array, h: Array, c: Array) -> Array:
        """The pre-activations z (B, 4H); the output gate's peephole comes with the new cell state."""
        z = zx + h @ self.Rt
        if self.p is not None:
            z[..., : self.H] += self.p[0] * c
            z[..., self.H : 2 * self.H] += self.p[1] * c
        return z

    def pre_activation_variance(self, zx_var: Array, z: Array, h: Array, h_var: Array, c: Array, c_var: Array) -> Array:
        """The variance of z: one more matrix product, with the squared weights."""
        z_var = zx_var + (self.growth * (h * h) + h_var) @ self.Rt2 + self.noise.u2 * (z * z)
        if self.noise.quantisation is not None:
            z_var += self.noise.quantisation.of_products(h, self.Rt, extent_of(h))
        if self.p is not None:
            for k in (0, 1):
                z_var[..., k * self.H : (k + 1) * self.H] += self._peephole_variance(k, c, c_var)
        return z_var

    def _peephole_variance(self, k: int, c: Array, c_var: Array) -> Array:
        assert self.p is not None
        return np.square(self.p[k]) * (self.growth * (c * c) + c_var)

    def step(self, z: Array, c: Array) -> CellStep:
        """Go from pre-activations and the cell state before to what the step gives; changes ``z`` with peepholes."""
        H = self.H
        a = self.gate.value(z)
        a = a.copy() if a is z else a
        a[..., 2 * H : 3 * H] = self.candidate.value(z[..., 2 * H : 3 * H])
        i, f, g, o = split_gates(a)
        if self.coupled:
            f[...] = 1 - i
        raw = f * c + i * g
        c_new = np.clip(raw, -self.clip, self.clip) if self.clip < np.inf else raw
        if self.p is not None:
            z[..., 3 * H :] += self.p[2] * c_new
            o[...] = self.gate.value(z[..., 3 * H :])
        u = self.curve.value(c_new)
        m = o * u
        return CellStep(a, raw, c_new, u, m, m if self.Pt is None else m @ self.Pt)

    def variances(self, z: Array, z_var: Array, c: Array, c_var: Array, step: CellStep) -> Variances:
        """Carry the variances of z and of the cell state before through ``step``."""
        H, noise, u2 = self.H, self.noise, self.noise.u2
        a_var = self.gate.variance(z, z_var, step.a, noise)
        g_part = slice(2 * H, 3 * H)
        a_var[..., g_part] = self.candidate.variance(z[..., g_part], z_var[..., g_part], step.a[..., g_part], noise)
        i, f, g, o = split_gates(step.a)
        i_var, f_var, g_var, o_var = split_gates(a_var)
        kept, added = f * c, i * g
        new = f * f * c_var + i * i * g_var
        if self.coupled:
            # 1 - i is within u of its range, not of itself: a fused 1 - z/6 - 1/2 need not be 0 where i is held at 1.
            f_var[...] = i_var + u2 * (f * f + i * i)
            new += np.square(g - c) * i_var + u2 * np.square(f * c)
        else:
            new += c * c * f_var + g * g * i_var
        if noise.quantisation is not None:
            # A kernel's error is the same at every step: those of one step and of the state before add up.
            before = f * f * c_var
            new += 2 * np.sqrt(before * np.fmax(new - before, 0))
        new += u2 * (kept * kept + added * added + step.raw * step.raw)
        if self.clip < np.inf:
            # Where it is held it is the clip itself, rounded to the dtype.
            held = np.abs(step.raw) > self.clip + NEAR_SIGMA * np.sqrt(new)
            new = np.where(held, u2 * (self.clip * self.clip), new)
        if self.p is not None:
            o_z_var = z_var[..., 3 * H :] + self._peephole_variance(2, step.c, new)
            o_z_var += u2 * np.square(z[..., 3 * H :])
            o_var[...] = self.gate.variance(z[..., 3 * H :], o_z_var, o, noise)
        u_var = self.curve.variance(step.c, new, step.u, noise)
        m_var = np.fmin(o * o * u_var + step.u * step.u * o_var + u2 * (step.m * step.m), self.cap)
        if self.Pt is None:
            return Variances(a_var, new, m_var)
        m_var += noise.sum_growth(H) * (step.m * step.m)
        return Variances(a_var, new, m_var @ self.Pt2 + u2 * (step.h * step.h))

    # -- backward ------------------------------------------------------------------------------------------------

    def slopes(self, saved: Operands) -> Slopes:
        """The factors of the backward step from what the forward step gave, of one or several timesteps."""
        i, f, g, o = split_gates(saved.a)
        u = self.curve.value(saved.c)
        # Coupled, i moves f = 1 - i the other way, and f has no slope of its own.
        i_factor = g - saved.c_before if self.coupled else g
        f_factor = np.zeros_like(f) if self.coupled else saved.c_before
        factors = np.concatenate([i_factor, f_factor, i, u], axis=-1)
        gate_slopes = self._gate_slopes(saved.a)
        u_slope = self.curve.slope(u)
        unclipped = np.abs(f * saved.c_before + i * g) < self.clip if self.clip < np.inf else None
        return Slopes(factors * gate_slopes, o * u_slope, f, unclipped, factors, gate_slopes, u_slope)

    def slope_variances(self, saved: Operands, saved_var: Operands, slopes: Slopes) -> SlopeVariances:
        """Carry the variances of what the forward step gave to the factors of the backward step."""
        noise, u2 = self.noise, self.noise.u2
        i, f, g, o = split_gates(saved.a)
        i_var, f_var, g_var, o_var = split_gates(saved_var.a)
        u = slopes.factors[..., 3 * self.H :]
        u_var = self.curve.variance(saved.c, saved_var.c, u, noise)
        i_factor_var = g_var
        if self.coupled:
            i_factor_var = g_var + saved_var.c_before + u2 * np.square(slopes.factors[..., : self.H])
        factors_var = np.concatenate([i_factor_var, saved_var.c_before, i_var, u_var], axis=-1)
        z2, c2, f2 = slopes.z * slopes.z, slopes.c * slopes.c, f * f
        # A slope is rounded twice, and so is each product of it with its factor and what comes in.
        z = self._gate_slope_variances(slopes.factors, saved.a, saved_var.a)
        z += 4 * u2 * z2
        z += slopes.gates * slopes.gates * factors_var
        if self.coupled:
            z[..., self.H : 2 * self.H] = 0
        c = o * o * self.curve.slope_variance(u, u_var, noise) + slopes.u * slopes.u * o_var + 4 * u2 * c2
        near_clip = None
        if self.clip < np.inf:
            raw = f * saved.c_before + i * g
            near_clip = np.abs(np.abs(raw) - self.clip) <= NEAR_SIGMA * np.sqrt(saved_var.c)
        return SlopeVariances(z, c, f_var + u2 * f2, z2, c2, f2, near_clip, slopes.unclipped)

    def _gate_slopes(self, a: Array) -> Array:
        """Slopes of all gates, (..., 4H), from their outputs: g has an activation of its own."""
        slopes = self.gate.slope(a)
        if self.candidate is not self.gate:
            g = slice(2 * self.H, 3 * self.H)
            slopes[..., g] = self.candidate.slope(a[..., g])
        return slopes

    def _gate_slope_variances(self, factors: Array, a: Array, a_var: Array) -> Array:
        """Variance that gates' outputs bring to their slopes, times the factors' squares."""
        g = slice(2 * self.H, 3 * self.H)
        variance = self.gate.slope_variance(a, a_var, self.noise)
        variance[..., g] = self.candidate.slope_variance(a[..., g], a_var[..., g], self.noise)
        variance *= factors
        variance *= factors
        return variance

    def back(self, slopes: Slopes, dh: Array, dc: Array) -> Back:
        """Take one step backward, from the cotangents of h (B, P) and of c (B, H) that come in."""
        H = self.H
        dm = dh if self.Pt is None else dh @ self.Pt.T
        dc = dc + dm * slopes.c
        if self.p is not None:
            dc += dm * slopes.z[..., 3 * H :] * self.p[2]
        dc_clipped = dc
        if slopes.unclipped is not None:
            dc = dc * slopes.unclipped
        dz = slopes.z * np.concatenate([dc, dc, dc, dm], axis=-1)
        dc_before = dc * slopes.f
        if self.p is not None:
            dc_before += dz[..., :H] * self.p[0] + dz[..., H : 2 * H] * self.p[1]
        return Back(dz, dz @ self.Rt.T, dc_before, dm, dh, dc_clipped, dc)

    def back_variances(self, slopes: SlopeVariances, back: Back, dh_var: Array, dc_var: Array) -> Back:
        """Carry variances through ``back``: those of its factors, and of the cotangents that came in."""
        noise, u2, H = self.noise, self.noise.u2, self.H
        dm, dm_var = back.dm, dh_var
        if self.Pt is not None:
            growth = noise.sum_growth(self.Pt.shape[1])
            dm_var = (growth * np.square(back.dh) + dh_var) @ self.Pt2.T + u2 * (dm * dm)  # type: ignore[union-attr]
        dm2, dc2 = dm * dm, back.dc * back.dc
        clipped2 = back.dc_clipped * back.dc_clipped
        dc_var = dc_var + slopes.c2 * dm_var + slopes.c * dm2 + u2 * clipped2 + noise.tiny2
        clipped_var = dc_var
        if self.p is not None:
            part = slice(3 * H, None)
            dz_o_var = slopes.z2[..., part] * dm_var + slopes.z[..., part] * dm2
            dc_var += np.square(self.p[2]) * (dz_o_var + u2 * np.square(back.dz[..., part]))
        if slopes.near_clip is not None and slopes.unclipped is not None:
            # Where rounding decides whether it is clipped, all of it may come through or nothing.
            dc_var = np.where(slopes.near_clip, dc_var + clipped2, dc_var * slopes.unclipped)
        d_var = np.concatenate([dc_var, dc_var, dc_var, dm_var], axis=-1)
        dz_var = slopes.z2 * d_var + slopes.z * np.concatenate([dc2, dc2, dc2, dm2], axis=-1) + noise.tiny2
        dc_before_var = slopes.f2 * dc_var + slopes.f * dc2 + noise.tiny2
        if self.p is not None:
            for k in (0, 1):
                block = slice(k * H, (k + 1) * H)
                dc_before_var += np.square(self.p[k]) * (dz_var[..., block] + u2 * np.square(back.dz[..., block]))
            dc_before_var += u2 * np.square(back.dc_before)
        spread = dz_var + noise.sum_growth(4 * H) * (back.dz * back.dz)
        dh_before_var = spread @ self.Rt2.T + u2 * np.square(back.dh_before) + noise.tiny2
        return Back(dz_var, dh_before_var, dc_before_var, dm_var, dh_var, clipped_var, dc_var)
