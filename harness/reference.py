"""The reference: an LSTM in extended arithmetic, with the variance of rounding beside each value.

With canonical weights, gates stacked i, f, g, o:

    z_t = W x_t + R h_{t-1} + b
    i, f, o = sigmoid(z_i, z_f, z_o)    g = tanh(z_g)
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

Past a sequence's length the state stays what it was, and h_t and the gates are 0.
Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), as
``torch.nn.LSTM`` documents it. The rules for variances stand in ``harness.noise``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.noise import SIGMOID_CAP, TANH_CAP, Noise
from harness.problem import Problem
from harness.trace import PER_TIMESTEP

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class ExpectedTensor:
    """One tensor's expected values and their noise: three arrays of its shape, in the case's dtype.

    The expected value is ``value + rest``: rounded to the dtype, and what that rounding cut off. So
    differences are exact where they are small, in the arithmetic of the dtype itself.
    """

    value: Array
    rest: Array
    noise: Array  # standard deviation of a healthy implementation's rounding; never 0

    @classmethod
    def empty(cls, shape: tuple[int, ...], noise: Noise) -> ExpectedTensor:
        """Make room for values of that shape."""
        return cls(*(np.empty(shape, noise.dtype) for _ in range(3)))

    @classmethod
    def of(cls, exact: Array, variance: Array, noise: Noise) -> ExpectedTensor:
        """Split exact values, and take the roots of their variances."""
        tensor = cls.empty(exact.shape, noise)
        tensor.put(..., exact, variance, noise)
        return tensor

    def put(self, rows: Any, exact: Array, variance: Array, noise: Noise) -> None:
        """Set some rows from exact values and variances."""
        self.value[rows] = exact
        rest = exact - self.value[rows]
        # Where the value itself is not finite in the dtype, nothing is left over.
        self.rest[rows] = np.where(np.isfinite(rest), rest, 0)
        self.noise[rows] = np.sqrt(np.maximum(variance, noise.floor))

    def reshaped(self, shape: tuple[int, ...]) -> ExpectedTensor:
        """Give the same numbers in another shape."""
        return ExpectedTensor(self.value.reshape(shape), self.rest.reshape(shape), self.noise.reshape(shape))


Expected = dict[str, ExpectedTensor]

# Timesteps computed before they are split and stored: enough for whole-array arithmetic, few enough
# that wide buffers stay small beside the trace.
_CHUNK = 32


def forward(problem: Problem) -> Arrays:
    """Compute the values alone: i, f, g, o, c, h (T, B, H), c_n and h_n (B, H), in the reference's precision."""
    weights = _Weights.of(problem)
    T, B, _, H = problem.case.shape
    values = _empty((T, B, H), weights.noise)
    h, c = weights.h0, weights.c0
    with np.errstate(all="ignore"):
        zx = problem.x.astype(weights.noise.precision) @ weights.Wt + weights.b
        for t in range(T):
            a, c_new, _, h_new = _cell(zx[t] + h @ weights.Rt, c)
            h, c = _keep(weights.valid(t), (h, c), (h_new, c_new))
            _store(values, t, a, h_new, c, weights.valid(t))
    return {**values, "c_n": c, "h_n": h}


def expect(problem: Problem) -> Expected:
    """Compute every value with the noise that rounding in the case's dtype can give it.

    Returns:
        i, f, g, o, c, h (T, B, H), then c_n and h_n (B, H).
    """
    weights = _Weights.of(problem)
    T, B, _, H = problem.case.shape
    noise = weights.noise
    expected = {name: ExpectedTensor.empty((T, B, H), noise) for name in PER_TIMESTEP}
    values, variances = _empty((min(T, _CHUNK), B, H), noise), _empty((min(T, _CHUNK), B, H), noise)
    h, c = weights.h0, weights.c0
    h_var, c_var = np.zeros_like(h), np.zeros_like(c)
    with np.errstate(all="ignore"):
        for start in range(0, T, _CHUNK):
            steps = range(start, min(start + _CHUNK, T))
            zx, zx_var = weights.input_part(problem.x[start : steps.stop])
            for k, t in enumerate(steps):
                z, z_var = weights.add_recurrent_part(zx[k], zx_var[k], h, h_var)
                a, c_new, tanh_c, h_new = _cell(z, c)
                a_var, c_new_var, h_new_var = _cell_variance(a, z_var, c, c_var, c_new, tanh_c, h_new, noise)
                valid = weights.valid(t)
                h, c, h_var, c_var = _keep(valid, (h, c, h_var, c_var), (h_new, c_new, h_new_var, c_new_var))
                _store(values, k, a, h_new, c, valid)
                _store(variances, k, a_var, h_new_var, c_var, valid)
            for name, tensor in expected.items():
                count = len(steps)
                tensor.put(slice(start, steps.stop), values[name][:count], variances[name][:count], noise)
        expected["c_n"] = ExpectedTensor.of(c, c_var, noise)
        expected["h_n"] = ExpectedTensor.of(h, h_var, noise)
    return expected


def expect_steps(problem: Problem, h: Array, c: Array, steps: slice) -> Expected:
    """Compute each of ``steps`` alone, from the state that was observed before it.

    Args:
        problem: What was run.
        h: Observed hidden states, (T, B, H).
        c: Observed cell states, (T, B, H).
        steps: Which timesteps, as a range.

    Returns:
        c and h of those timesteps, as one healthy step gives them; the state before counts as exact.
    """
    weights = _Weights.of(problem)
    before = slice(max(steps.start - 1, 0), steps.stop - 1)
    given = steps.start == 0
    h_prev = np.concatenate([problem.h0[None], h[before]] if given else [h[before]]).astype(weights.noise.precision)
    c_prev = np.concatenate([problem.c0[None], c[before]] if given else [c[before]]).astype(weights.noise.precision)
    none = np.zeros_like(h_prev)
    with np.errstate(all="ignore"):
        z, z_var = weights.add_recurrent_part(*weights.input_part(problem.x[steps]), h_prev, none)
        a, c_new, tanh_c, h_new = _cell(z, c_prev)
        _, c_var, h_var = _cell_variance(a, z_var, c_prev, none, c_new, tanh_c, h_new, weights.noise)
        if weights.lengths is not None:
            valid = np.arange(steps.start, steps.stop)[:, None, None] < weights.lengths[None, :, None]
            h_new, c_new = np.where(valid, h_new, 0), np.where(valid, c_new, c_prev)
            h_var, c_var = np.where(valid, h_var, 0), np.where(valid, c_var, 0)
        return {
            "c": ExpectedTensor.of(c_new, c_var, weights.noise),
            "h": ExpectedTensor.of(h_new, h_var, weights.noise),
        }


@dataclass(frozen=True, eq=False)
class _Weights:
    """A problem's weights and state in the reference's precision, kernels transposed for products from the right."""

    Wt: Array  # (I, 4H)
    Rt: Array  # (H, 4H)
    Wt2: Array  # Wt squared
    Rt2: Array
    b: Array  # (4H,)
    h0: Array
    c0: Array
    lengths: Array | None
    noise: Noise

    @classmethod
    def of(cls, problem: Problem) -> _Weights:
        noise = Noise.of(problem.case.run.dtype)
        Wt, Rt, b, h0, c0 = (
            np.ascontiguousarray(a, noise.precision)
            for a in (problem.W.T, problem.R.T, problem.b, problem.h0, problem.c0)
        )
        return cls(Wt, Rt, Wt * Wt, Rt * Rt, b, h0, c0, problem.lengths, noise)

    @property
    def growth(self) -> Any:
        return self.noise.sum_growth(len(self.Wt) + len(self.Rt))

    def valid(self, t: int) -> Array | None:
        """Which sequences still run at timestep ``t``, (B, 1); None where all do."""
        return None if self.lengths is None else (t < self.lengths)[:, None]

    def input_part(self, x: Array) -> tuple[Array, Array]:
        """W x + b for several timesteps, and u² (log2(n) + 1) times their part of S."""
        x = x.astype(self.noise.precision)
        return x @ self.Wt + self.b, self.growth * ((x * x) @ self.Wt2 + self.b * self.b)

    def add_recurrent_part(self, zx: Array, zx_var: Array, h: Array, h_var: Array) -> tuple[Array, Array]:
        """Give z and its variance: one more matrix product, with the squared weights."""
        z = zx + h @ self.Rt
        return z, zx_var + (self.growth * (h * h) + h_var) @ self.Rt2 + self.noise.u2 * (z * z)


def _cell(z: Array, c: Array) -> tuple[Array, Array, Array, Array]:
    """From pre-activations (..., 4H) and the cell state before: activations (..., 4H), c, tanh(c), h."""
    H = c.shape[-1]
    a = 1 / (1 + np.exp(-z))
    a[..., 2 * H : 3 * H] = np.tanh(z[..., 2 * H : 3 * H])
    i, f, g, o = _gates(a)
    c_new = f * c + i * g
    tanh_c = np.tanh(c_new)
    return a, c_new, tanh_c, o * tanh_c


def _cell_variance(
    a: Array, z_var: Array, c: Array, c_var: Array, c_new: Array, tanh_c: Array, h_new: Array, noise: Noise
) -> tuple[Array, Array, Array]:
    """Carry the variances of z and c through ``_cell``: those of the activations, of c and of h."""
    H, u2 = c.shape[-1], noise.u2
    slope = a * (1 - a)
    slope[..., 2 * H : 3 * H] = 1 - np.square(a[..., 2 * H : 3 * H])
    # fmin, not minimum: where infinities meet, the variance is NaN and the cap holds.
    a_var = np.fmin(slope * slope * z_var + u2, SIGMOID_CAP)
    g_part = a_var[..., 2 * H : 3 * H]
    g_part[...] = np.fmin(np.square(slope[..., 2 * H : 3 * H]) * z_var[..., 2 * H : 3 * H] + u2, TANH_CAP)
    i, f, g, o = _gates(a)
    i_var, f_var, g_var, o_var = _gates(a_var)
    kept, added = f * c, i * g
    c_new_var = f * f * c_var + c * c * f_var + i * i * g_var + g * g * i_var
    c_new_var += u2 * (kept * kept + added * added + c_new * c_new)
    tanh_slope = 1 - tanh_c * tanh_c
    tanh_var = np.fmin(tanh_slope * tanh_slope * c_new_var + u2, TANH_CAP)
    h_new_var = np.fmin(o * o * tanh_var + tanh_c * tanh_c * o_var + u2 * (h_new * h_new), TANH_CAP)
    return a_var, c_new_var, h_new_var


def _gates(a: Array) -> tuple[Array, Array, Array, Array]:
    H = a.shape[-1] // 4
    return a[..., :H], a[..., H : 2 * H], a[..., 2 * H : 3 * H], a[..., 3 * H :]


def _keep(valid: Array | None, old: tuple[Array, ...], new: tuple[Array, ...]) -> tuple[Array, ...]:
    """Take the new state where the sequence still runs, and the old one past its end."""
    if valid is None:
        return new
    return tuple(np.where(valid, after, before) for before, after in zip(old, new, strict=True))


def _empty(shape: tuple[int, ...], noise: Noise) -> Arrays:
    return {name: np.empty(shape, noise.precision) for name in PER_TIMESTEP}


def _store(arrays: Arrays, t: int, a: Array, h: Array, c: Array, valid: Array | None) -> None:
    """Put one timestep into its place; past the end of a sequence gates and h are 0."""
    for name, part in zip("ifgo", _gates(a), strict=True):
        arrays[name][t] = part
    arrays["c"][t], arrays["h"][t] = c, h
    if valid is not None:
        for name in "ifgoh":
            arrays[name][t][~valid[:, 0]] = 0
