"""One lane over all timesteps, forward and backward, in the order in which it goes through them.

The reverse direction is the forward one over sequences that are turned round within their lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.tensors import PER_TIMESTEP
from lockstep.harness.reference.cell import Back, Cell, CellStep, Saved, Slopes, SlopeVariances
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise
from lockstep.harness.reference.weight_gradients import Contributions, Operands, Sums

# Timesteps computed before they are split and stored: enough for whole-array arithmetic, few enough
# that wide buffers stay small beside the trace.
CHUNK_STEPS = 16


@dataclass(frozen=True)
class Inputs:
    """What a lane takes in, (T, B, n), in its own order; exact where there is no noise."""

    value: Array
    rest: Array | None = None
    noise: Array | None = None

    def of(self, steps: slice, noise: Noise) -> tuple[Array, Array | None]:
        """Values and variances of some timesteps, in the reference's precision."""
        value = noise.taken(self.value[steps])
        if self.rest is not None:
            value += self.rest[steps]
        return value, None if self.noise is None else np.square(self.noise[steps], dtype=noise.precision)

    def each(self, function: Callable[[Array], Array]) -> Inputs:
        """Apply a function to each array."""
        parts = (self.value, self.rest, self.noise)
        return Inputs(*(None if part is None else function(part) for part in parts))  # type: ignore[arg-type]


class Kicks(Protocol):
    """Puts values off by a rounding: each copy in the batch in its own way."""

    copies: int

    def __call__(self, name: str, value: Array, variance: Array) -> Array:
        """A value (copies B, n), put off by about the root of its variance."""
        ...


class Carried(NamedTuple):
    """What goes back from a timestep to the one before: cotangents of its initial state, and their variances."""

    dh: Array  # (B, P)
    dc: Array  # (B, H)
    dh_var: Array
    dc_var: Array


class Walk:
    """One lane's way through its sequences: weights, inputs, initial state; all in its own order of time."""

    def __init__(
        self,
        cell: Cell,
        inputs: Inputs,
        h0: Array,
        c0: Array,
        lengths: Array | None,
        kicks: Kicks | None = None,
    ) -> None:
        """Take what it starts from: ``h0`` (B, P), ``c0`` (B, H), ``lengths`` (B,).

        With ``kicks`` the batch holds copies of the sequences, and every step is off by a rounding.
        """
        self.cell, self.inputs, self.noise, self.lengths = cell, inputs, cell.noise, lengths
        self.kicks = kicks
        self.h0, self.c0 = self.noise.taken(h0), self.noise.taken(c0)
        self.T, self.B = inputs.value.shape[:2]

    def shape(self, name: str) -> tuple[int, int, int]:
        """The shape of a tensor per timestep."""
        return self.T, self.B, self.h0.shape[1] if name == "h" else self.cell.H

    def valid(self, t: int) -> Array | None:
        """Which sequences still run at timestep ``t``, (B, 1); None where all do."""
        return None if self.lengths is None else (t < self.lengths)[:, None]

    def chunks(self) -> Iterator[range]:
        """Cut time into pieces."""
        for start in range(0, self.T, CHUNK_STEPS):
            yield range(start, min(start + CHUNK_STEPS, self.T))

    # -- forward -------------------------------------------------------------------------------------------------

    def values(self) -> Arrays:
        """Compute i, f, g, o, c (T, B, H), h (T, B, P), then c_n, h_n, without noise."""
        cell = self.cell
        values = {name: np.empty(self.shape(name), self.noise.precision) for name in PER_TIMESTEP}
        h, c = self.h0, self.c0
        for steps in self.chunks():
            x = self.inputs.of(slice(steps.start, steps.stop), self.noise)[0]
            zx = cell.input_part(x)
            for k, t in enumerate(steps):
                z = cell.pre_activation(zx[k], h, c)
                step = cell.step(z, c)
                if self.kicks is not None:
                    step = self._kicked(self.kicks, cell.input_variance(x[k], None), z, h, c, step)
                valid = self.valid(t)
                h, c = keep(valid, (h, c), (step.h, step.c))
                store(values, t, step.a, step.h, c, valid)
        return {**values, "c_n": c, "h_n": h}

    def _kicked(self, kicks: Kicks, zx_var: Array, z: Array, h: Array, c: Array, step: CellStep) -> CellStep:
        """Put a step off by what rounding may do to it alone."""
        none_h, none_c = np.zeros_like(h), np.zeros_like(c)
        z_var = self.cell.pre_activation_variance(zx_var, z, h, none_h, c, none_c)
        var = self.cell.variances(z, z_var, c, none_c, step)
        return step._replace(
            a=kicks("a", step.a, var.a), c=kicks("c", step.c, var.c), h=kicks("h", step.h, var.h)
        )  # fmt: skip

    def expected(self) -> Expected:
        """Compute the same with noise."""
        cell, noise = self.cell, self.noise
        expected = {name: ExpectedTensor.empty(self.shape(name), noise) for name in PER_TIMESTEP}
        shapes = {name: (min(self.T, CHUNK_STEPS), *self.shape(name)[1:]) for name in PER_TIMESTEP}
        values, variances = ({name: np.empty(shape, noise.precision) for name, shape in shapes.items()} for _ in "vn")
        h, c = self.h0, self.c0
        h_var, c_var = np.zeros_like(h), np.zeros_like(c)
        for steps in self.chunks():
            rows = slice(steps.start, steps.stop)
            x, x_var = self.inputs.of(rows, noise)
            zx, zx_var = cell.input_part(x), cell.input_variance(x, x_var)
            for k, t in enumerate(steps):
                z = cell.pre_activation(zx[k], h, c)
                z_var = cell.pre_activation_variance(zx_var[k], z, h, h_var, c, c_var)
                step = cell.step(z, c)
                var = cell.variances(z, z_var, c, c_var, step)
                valid = self.valid(t)
                h, c, h_var, c_var = keep(valid, (h, c, h_var, c_var), (step.h, step.c, var.h, var.c))
                store(values, k, step.a, step.h, c, valid)
                store(variances, k, var.a, var.h, c_var, valid)
            for name, tensor in expected.items():
                count = len(steps)
                tensor.put(rows, values[name][:count], variances[name][:count], noise)
        expected["c_n"] = ExpectedTensor.of(c, c_var, noise)
        expected["h_n"] = ExpectedTensor.of(h, h_var, noise)
        return expected

    def each_step(self, h: Array, c: Array, steps: slice) -> Expected:
        """Compute some timesteps alone, each from the state that was observed before it, which counts as exact.

        Args:
            h: Observed hidden states, (T, B, P).
            c: Observed cell states, (T, B, H).
            steps: Which timesteps, as a range.

        Returns:
            c and h of those timesteps.
        """
        cell, noise = self.cell, self.noise
        before = slice(max(steps.start - 1, 0), steps.stop - 1)
        begins = steps.start == 0
        h_prev, c_prev = (
            np.concatenate([first[None], observed[before]] if begins else [observed[before]]).astype(noise.precision)
            for first, observed in ((self.h0, h), (self.c0, c))
        )
        x, x_var = self.inputs.of(steps, noise)
        z = cell.pre_activation(cell.input_part(x), h_prev, c_prev)
        no_h, no_c = np.zeros_like(h_prev), np.zeros_like(c_prev)
        z_var = cell.pre_activation_variance(cell.input_variance(x, x_var), z, h_prev, no_h, c_prev, no_c)
        step = cell.step(z, c_prev)
        var = cell.variances(z, z_var, c_prev, no_c, step)
        h_new, c_new, h_var, c_var = step.h, step.c, var.h, var.c
        if self.lengths is not None:
            valid = np.arange(steps.start, steps.stop)[:, None, None] < self.lengths[None, :, None]
            h_new, c_new = np.where(valid, h_new, 0), np.where(valid, c_new, c_prev)
            h_var, c_var = np.where(valid, h_var, 0), np.where(valid, c_var, 0)
        return {"c": ExpectedTensor.of(c_new, c_var, noise), "h": ExpectedTensor.of(h_new, h_var, noise)}

    # -- backward ------------------------------------------------------------------------------------------------

    def gradient_values(self, values: Arrays, dh: Array, dc_n: Array, operands: list[Operands] | None = None) -> Arrays:
        """Compute gradients without noise.

        Args:
            values: What ``values`` gave.
            dh: Cotangent of h (T, B, P).
            dc_n: Cotangent of the final cell state (B, H).
            operands: Gets, if given, what gradients of weights are made of, chunk by chunk, the last one first.

        Returns:
            dx (T, B, I), dh0, dc0, dW, dR, db, and dP, dp where there are such weights; with kicks those of weights
            have an axis of copies in front.
        """
        cell = self.cell
        sums = Sums(cell, copies=0 if self.kicks is None else self.kicks.copies)
        dx = np.empty(self.inputs.value.shape, self.noise.precision)
        dh_state, dc = np.zeros_like(self.h0), self.noise.taken(dc_n)
        for steps in reversed(list(self.chunks())):
            rows = slice(steps.start, steps.stop)
            x, _ = self.inputs.of(rows, self.noise)
            a = np.concatenate([values[name][rows] for name in "ifgo"], axis=-1)
            c, c_before = values["c"][rows], self._before(values["c"], self.c0, rows)
            h_before = self._before(values["h"], self.h0, rows)
            slopes = cell.slopes(Saved(a, c_before, c))
            kick_slopes = None if self.kicks is None else self._exact_variances(Saved(a, c_before, c), slopes)
            dz, dh_out = np.empty_like(a), np.empty_like(values["h"][rows])
            for k in range(len(steps) - 1, -1, -1):
                valid = self.valid(steps[k])
                back = cell.back(_at(slopes, k), dh[steps[k]] + dh_state, dc)
                if self.kicks is not None and kick_slopes is not None:
                    back = self._kicked_back(self.kicks, _at(kick_slopes, k), back)
                dz[k], dh_out[k] = _masked(valid, back.dz), _masked(valid, back.dh)
                dh_state, dc = keep(valid, (dh_state, dc), (back.dh_before, back.dc_before))
            dx[rows] = dz @ cell.Wt.T
            chunk = Operands(dz, dh_out, x, h_before, c_before, c, a)
            sums.add(chunk)
            if operands is not None:
                operands.append(chunk)
        return {"dx": dx, "dh0": dh_state, "dc0": dc, **sums.values}

    def _exact_variances(self, saved: Saved, slopes: Slopes) -> SlopeVariances:
        """The variances of slopes that rounding adds to them alone."""
        return self.cell.slope_variances(saved, Saved(*(np.zeros_like(array) for array in saved)), slopes)

    def _kicked_back(self, kicks: Kicks, slopes: SlopeVariances, back: Back) -> Back:
        """Put a step backward off by what rounding may do to it alone."""
        var = self.cell.back_variances(slopes, back, self.noise.rounded(back.dh), np.zeros_like(back.dc))
        return back._replace(
            dz=kicks("dz", back.dz, var.dz),
            dh_before=kicks("dh", back.dh_before, var.dh_before),
            dc_before=kicks("dc", back.dc_before, var.dc_before),
        )

    def gradients(
        self, expected: Expected, dh: Inputs, dc_n: Array, *, by_timestep: bool
    ) -> tuple[Expected, Contributions | None]:
        """Compute gradients with noise.

        Args:
            expected: What ``expected`` gave.
            dh: Cotangent of h (T, B, P).
            dc_n: Cotangent of the final cell state (B, H).
            by_timestep: Whether each timestep's contribution to a weight's gradient is wanted too.

        Returns:
            Gradients as ``gradient_values``, and what contributions are made of.
        """
        noise = self.noise
        sums = Sums(self.cell)
        chunks: list[tuple[Operands, Operands]] = []
        dx = ExpectedTensor.empty(self.inputs.value.shape, noise)
        dc = noise.taken(dc_n)
        carried = Carried(np.zeros_like(self.h0), dc, np.zeros_like(self.h0), np.zeros_like(dc))
        for steps in reversed(list(self.chunks())):
            rows = slice(steps.start, steps.stop)
            operands, variances = self._chunk_operands(expected, rows)
            carried = self._chunk_back(steps, operands, variances, dh.of(rows, noise), carried)
            dx.put(rows, *self._input_gradient(operands.dz, variances.dz), noise)
            sums.add(operands, variances)
            if by_timestep:
                chunks.append((operands, variances))
        states = {
            "dh0": ExpectedTensor.of(carried.dh, carried.dh_var, noise),
            "dc0": ExpectedTensor.of(carried.dc, carried.dc_var, noise),
        }
        contributions = Contributions.of(self.cell, chunks[::-1]) if by_timestep else None
        return {"dx": dx, **states, **sums.expected()}, contributions

    def _chunk_operands(self, expected: Expected, rows: slice) -> tuple[Operands, Operands]:
        """What a chunk's gradients are made of, and the variances; the way back has yet to fill dz and dh."""
        x, x_var = self.inputs.of(rows, self.noise)
        (a, a_var), (c, c_var), (h, h_var) = (_chunk(expected, names, rows, self.noise) for names in ("ifgo", "c", "h"))
        c_before, c_before_var = self._before_chunk(expected["c"], c, c_var, self.c0, rows)
        h_before, h_before_var = self._before_chunk(expected["h"], h, h_var, self.h0, rows)
        return (
            Operands(np.empty_like(a), np.empty_like(h), x, h_before, c_before, c, a),
            Operands(
                np.empty_like(a), np.empty_like(h), x_var, h_before_var, c_before_var, c_var, a_var,  # type: ignore[arg-type]
            ),
        )  # fmt: skip

    def _chunk_back(
        self, steps: range, operands: Operands, variances: Operands, dh: tuple[Array, Array | None], carried: Carried
    ) -> Carried:
        """Go back through a chunk, which fills dz and dh of its operands.

        Args:
            steps: Its timesteps.
            operands: What its gradients are made of.
            variances: Those of the operands.
            dh: Cotangent of h at each of the timesteps, (K, B, P), and its variance.
            carried: What comes from the timestep after.

        Returns:
            What goes to the timestep before.
        """
        cell, noise = self.cell, self.noise
        saved = Saved(operands.a, operands.c_before, operands.c)
        slopes = cell.slopes(saved)
        slope_vars = cell.slope_variances(saved, Saved(variances.a, variances.c_before, variances.c), slopes)
        for k in range(len(steps) - 1, -1, -1):
            valid = self.valid(steps[k])
            dh_k = dh[0][k] + carried.dh
            dh_var = carried.dh_var + noise.rounded(dh_k)
            if dh[1] is not None:
                dh_var += dh[1][k]
            back = cell.back(_at(slopes, k), dh_k, carried.dc)
            var = cell.back_variances(_at(slope_vars, k), back, dh_var, carried.dc_var)
            operands.dz[k], operands.dh[k] = _masked(valid, back.dz), _masked(valid, back.dh)
            variances.dz[k], variances.dh[k] = _masked(valid, var.dz), _masked(valid, var.dh)
            before = Carried(back.dh_before, back.dc_before, var.dh_before, var.dc_before)
            carried = Carried(*keep(valid, carried, before))
        return carried

    def _input_gradient(self, dz: Array, dz_var: Array) -> tuple[Array, Array]:
        """The gradient dx of a chunk, and its variance."""
        dx = dz @ self.cell.Wt.T
        growth = self.noise.sum_growth(4 * self.cell.H)
        dx_var = (dz_var + growth * (dz * dz)) @ self.cell.Wt2.T + self.noise.u2 * (dx * dx)
        return dx, dx_var

    def _before(self, observed: Array, first: Array, rows: slice) -> Array:
        """The states before some timesteps."""
        if rows.start:
            return observed[rows.start - 1 : rows.stop - 1]
        return np.concatenate([first[None], observed[: rows.stop - 1]])

    def _before_chunk(
        self, tensor: ExpectedTensor, values: Array, variances: Array, first: Array, rows: slice
    ) -> tuple[Array, Array]:
        """The states before some timesteps with their variances: a chunk's own, moved by one."""
        if rows.start:
            earlier = tensor.at(slice(rows.start - 1, rows.start))
            value = earlier.value.astype(self.noise.precision) + earlier.rest
            var = np.square(earlier.noise, dtype=self.noise.precision)
        else:
            value, var = first[None], np.zeros_like(first)[None]
        return np.concatenate([value, values[:-1]]), np.concatenate([var, variances[:-1]])


def keep(valid: Array | None, old: tuple[Array, ...], new: tuple[Array, ...]) -> tuple[Array, ...]:
    """Take the new state where the sequence still runs, and the old one past its end."""
    if valid is None:
        return new
    return tuple(np.where(valid, after, before) for before, after in zip(old, new, strict=True))


def store(arrays: Arrays, t: int, a: Array, h: Array, c: Array, valid: Array | None) -> None:
    """Put one timestep into its place; past the end of a sequence gates and h are 0."""
    for name, gate in zip("ifgo", split_gates(a), strict=True):
        arrays[name][t] = gate
    arrays["c"][t], arrays["h"][t] = c, h
    if valid is not None:
        for name in "ifgoh":
            arrays[name][t][~valid[:, 0]] = 0


def _at(several: Any, k: int) -> Any:
    """Slopes, or their variances, of one of several timesteps."""
    return type(several)(*(None if part is None else part[k] for part in several))


def _masked(valid: Array | None, array: Array) -> Array:
    return array if valid is None else np.where(valid, array, 0)


def _chunk(expected: Expected, names: str, rows: slice, noise: Noise) -> tuple[Array, Array]:
    """Values and variances of some timesteps, several tensors side by side."""
    tensors = [expected[name].at(rows) for name in names]
    values = [tensor.value.astype(noise.precision) + tensor.rest for tensor in tensors]
    variances = [np.square(tensor.noise, dtype=noise.precision) for tensor in tensors]
    return np.concatenate(values, axis=-1), np.concatenate(variances, axis=-1)
