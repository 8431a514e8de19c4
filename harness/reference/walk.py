"""One lane over all timesteps, forward and backward, in the order in which it goes through them.

The reverse direction is the forward one over sequences that are turned round within their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array, Arrays, let_go, room
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.tensors import PER_TIMESTEP
from lockstep.harness.reference.cell import Back, Cell, CellStep, Operands
from lockstep.harness.reference.expected import Expected, ExpectedTensor, LaneResults, Quantity
from lockstep.harness.reference.noise import Kicks, extent_of
from lockstep.harness.reference.weight_gradients import Chunk, Sums

# Timesteps computed before they are split and stored: enough for whole-array arithmetic, few enough
# that wide buffers stay small beside the trace.
CHUNK_STEPS = 16


class Carried(NamedTuple):
    """What goes back from a timestep to the one before: cotangents of its initial state, and their variances."""

    dh: Array  # (B, P)
    dc: Array  # (B, H)
    dh_var: Array
    dc_var: Array


@dataclass(eq=False)
class Walk:
    """One lane's way through its sequences: weights, inputs, initial state; all in its own order of time."""

    cell: Cell
    inputs: Quantity
    h0: Array  # (B, P)
    c0: Array  # (B, H)
    lengths: Array | None  # (B,)
    kicks: Kicks | None = None  # with them the batch holds copies of the sequences, and every step is off by a rounding
    resets: Array | None = None  # (T, B): where states start anew, from zeros

    def __post_init__(self) -> None:
        self.noise = self.cell.noise
        self.h0, self.c0 = self.noise.taken(self.h0), self.noise.taken(self.c0)
        self.T, self.B = self.inputs.value.shape[:2]
        # Runtimes divide the range of all timesteps into steps, not that of each.
        self.extent = 0 if self.noise.quantisation is None else extent_of(self.inputs.value)

    def shape(self, name: str) -> tuple[int, int, int]:
        """The shape of a tensor per timestep."""
        return self.T, self.B, self.h0.shape[1] if name == "h" else self.cell.H

    def valid(self, t: int) -> Array | None:
        """Which sequences still run at timestep ``t``, (B, 1); None where all do."""
        return None if self.lengths is None else (t < self.lengths)[:, None]

    def fresh(self, t: int, *states: Array) -> tuple[Array, ...]:
        """States before timestep ``t``, or their variances: 0 where a sequence starts anew. Going back likewise."""
        if self.resets is None:
            return states
        return tuple(np.where(self.resets[t][:, None], 0, state) for state in states)

    def chunks(self) -> list[slice]:
        """Time in pieces."""
        return [slice(start, min(start + CHUNK_STEPS, self.T)) for start in range(0, self.T, CHUNK_STEPS)]

    # -- forward -------------------------------------------------------------------------------------------------

    def values(self) -> LaneResults:
        """Compute i, f, g, o, c (T, B, H), h (T, B, P), then c_n, h_n, without noise."""
        cell = self.cell
        values = {name: room(self.shape(name), self.noise.precision) for name in PER_TIMESTEP}
        h, c = self.h0, self.c0
        for rows in self.chunks():
            x = self.inputs.precise(rows, self.noise)[0]
            zx = cell.input_part(x)
            for k, t in enumerate(range(rows.start, rows.stop)):
                h, c = self.fresh(t, h, c)
                z = cell.pre_activation(zx[k], h, c)
                step = cell.step(z, c)
                if self.kicks is not None:
                    step = self._kicked(self.kicks, cell.input_variance(x[k], None, self.extent), z, h, c, step)
                valid = self.valid(t)
                h, c = keep(valid, (h, c), (step.h, step.c))
                store(values, t, step.a, step.h, c, valid)
            let_go(*values.values())
        return {name: Quantity(array) for name, array in (values | {"c_n": c, "h_n": h}).items()}

    def _kicked(self, kicks: Kicks, zx_var: Array, z: Array, h: Array, c: Array, step: CellStep) -> CellStep:
        """Put a step off by what rounding may do to it alone."""
        # What came in was put off by the kicks of earlier steps, and counts as exact here.
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
        # Buffers of one chunk: whole tensors in the reference's precision would be several times the trace.
        values, variances = ({name: np.empty(shape, noise.precision) for name, shape in shapes.items()} for _ in "vn")
        h, c = self.h0, self.c0
        h_var, c_var = np.zeros_like(h), np.zeros_like(c)
        for rows in self.chunks():
            x, x_var = self.inputs.precise(rows, noise)
            zx, zx_var = cell.input_part(x), cell.input_variance(x, x_var, self.extent)
            for k, t in enumerate(range(rows.start, rows.stop)):
                h, c, h_var, c_var = self.fresh(t, h, c, h_var, c_var)
                z = cell.pre_activation(zx[k], h, c)
                z_var = cell.pre_activation_variance(zx_var[k], z, h, h_var, c, c_var)
                step = cell.step(z, c)
                var = cell.variances(z, z_var, c, c_var, step)
                valid = self.valid(t)
                h, c, h_var, c_var = keep(valid, (h, c, h_var, c_var), (step.h, step.c, var.h, var.c))
                store(values, k, step.a, step.h, c, valid)
                # Past its end a sequence gives an h of 0, which is exact, but keeps its c with the variance that it
                # has.
                store(variances, k, var.a, var.h, c_var, valid)
            count = rows.stop - rows.start
            for name, tensor in expected.items():
                tensor.put(rows, values[name][:count], variances[name][:count], noise)
                tensor.let_go()
            self.inputs.let_go()
        expected["c_n"] = ExpectedTensor.of(c, c_var, noise)
        expected["h_n"] = ExpectedTensor.of(h, h_var, noise)
        return expected

    def each_step(self, h: Array, c: Array, steps: slice) -> Expected:
        """The c and h of some timesteps alone, each from the state observed before it, which counts as exact."""
        cell, noise = self.cell, self.noise
        # All timesteps at once: no step needs what another one gives.
        observed = (Quantity(h), self.h0), (Quantity(c), self.c0)
        (h_prev, _), (c_prev, _) = (self._before(state, first, steps) for state, first in observed)
        x, x_var = self.inputs.precise(steps, noise)
        z = cell.pre_activation(cell.input_part(x), h_prev, c_prev)
        no_h, no_c = np.zeros_like(h_prev), np.zeros_like(c_prev)
        z_var = cell.pre_activation_variance(cell.input_variance(x, x_var, self.extent), z, h_prev, no_h, c_prev, no_c)
        step = cell.step(z, c_prev)
        var = cell.variances(z, z_var, c_prev, no_c, step)
        h_new, c_new, h_var, c_var = step.h, step.c, var.h, var.c
        if self.lengths is not None:
            valid = np.arange(steps.start, steps.stop)[:, None, None] < self.lengths[None, :, None]
            h_new, c_new = np.where(valid, h_new, 0), np.where(valid, c_new, c_prev)
            h_var, c_var = np.where(valid, h_var, 0), np.where(valid, c_var, 0)
        return {"c": ExpectedTensor.of(c_new, c_var, noise), "h": ExpectedTensor.of(h_new, h_var, noise)}

    # -- backward ------------------------------------------------------------------------------------------------

    def gradients(
        self, forward: LaneResults, dh: Quantity, dc_n: Array, *, noisy: bool, chunks: list[Chunk] | None = None
    ) -> LaneResults:
        """Compute gradients from what ``values`` or ``expected`` gave, with noise or without.

        ``dh`` is the cotangent of h (T, B, P), ``dc_n`` that of the final cell state (B, H); ``chunks`` gets, if given,
        what gradients of weights are made of, the last chunk first.

        Returns:
            dx, dh0, dc0, dW, dR, db, and dP, dp where there are such weights; with kicks those of weights have an axis
            of copies in front.
        """
        noise, shape = self.noise, self.inputs.value.shape
        sums = Sums(self.cell, copies=1 if self.kicks is None else self.kicks.copies)
        dx = ExpectedTensor.empty(shape, noise) if noisy else Quantity(room(shape, noise.precision))
        # The cotangent of c_n goes back unchanged through the steps past a sequence's end, to its last valid one.
        dc = noise.taken(dc_n)
        carried = Carried(np.zeros_like(self.h0), dc, np.zeros_like(self.h0), np.zeros_like(dc))
        for rows in reversed(self.chunks()):
            operands, variances = self._operands(forward, rows, noisy=noisy)
            carried = self._chunk_back(rows, operands, variances, dh.precise(rows, noise), carried)
            dx_rows = operands.dz @ self.cell.Wt.T
            if isinstance(dx, ExpectedTensor) and variances is not None:
                spread = variances.dz + noise.sum_growth(4 * self.cell.H) * (operands.dz * operands.dz)
                dx.put(rows, dx_rows, spread @ self.cell.Wt2.T + noise.u2 * (dx_rows * dx_rows), noise)
            else:
                dx.value[rows] = dx_rows
            sums.add(operands, variances)
            if chunks is not None:
                chunks.append((operands, variances))
            for quantity in (*forward.values(), self.inputs, dh, dx):
                quantity.let_go()
        made = {"dh0": (carried.dh, carried.dh_var), "dc0": (carried.dc, carried.dc_var)}
        for name, value in sums.values.items():
            # Without kicks the axis of copies has one entry, and is taken off.
            made[name] = value if self.kicks else value[0], sums.variances[name][0] if noisy else value
        return {"dx": dx} | {
            name: ExpectedTensor.of(*of_both, noise) if noisy else Quantity(of_both[0])
            for name, of_both in made.items()
        }

    def _operands(self, forward: LaneResults, rows: slice, *, noisy: bool) -> Chunk:
        """What a chunk's gradients are made of, and the variances; the way back has yet to fill dz and dh."""
        x, x_var = self.inputs.precise(rows, self.noise)
        a, a_var = zip(*(forward[name].precise(rows, self.noise) for name in "ifgo"), strict=True)
        c, c_var = forward["c"].precise(rows, self.noise)
        h_before, h_before_var = self._before(forward["h"], self.h0, rows)
        c_before, c_before_var = self._before(forward["c"], self.c0, rows)
        gates = np.concatenate(a, axis=-1)
        operands = Operands(np.empty_like(gates), np.empty_like(h_before), x, h_before, c_before, c, gates)
        if not noisy:
            return operands, None
        gates_var = np.concatenate(a_var, axis=-1)
        return operands, Operands(
            np.empty_like(gates), np.empty_like(h_before), x_var, h_before_var, c_before_var, c_var, gates_var,  # type: ignore[arg-type]
        )  # fmt: skip

    def _chunk_back(
        self, rows: slice, operands: Operands, variances: Operands | None, dh: tuple[Array, Array | None],
        carried: Carried,
    ) -> Carried:  # fmt: skip
        """Go back through a chunk, which fills dz and dh of its operands; what goes to the timestep before.

        ``dh`` is the cotangent of h at each of the timesteps, (K, B, P), and its variance; ``carried`` comes from the
        timestep after.
        """
        cell, slope_vars = self.cell, None
        slopes = cell.slopes(operands)
        if variances is not None:
            slope_vars = cell.slope_variances(operands, variances, slopes)
        elif self.kicks is not None:
            # A kick is what rounding may do to this step alone: what comes in counts as exact.
            slope_vars = cell.slope_variances(operands, Operands.each(np.zeros_like, operands), slopes)
        for k in reversed(range(len(operands.dz))):
            valid = self.valid(rows.start + k)
            dh_k = dh[0][k] + carried.dh
            back, var = cell.back(_at(slopes, k), dh_k, carried.dc), None
            if slope_vars is not None:
                dh_var = carried.dh_var + self.noise.rounded(dh_k)
                # That of the top layer is given; that of a lower one carries the noise of the layer above.
                if dh[1] is not None:
                    dh_var += dh[1][k]
                var = cell.back_variances(_at(slope_vars, k), back, dh_var, carried.dc_var)
            if self.kicks is not None and var is not None:
                back, var = _kicked_back(self.kicks, back, var), None
            before = carried._replace(dh=back.dh_before, dc=back.dc_before)
            operands.dz[k], operands.dh[k] = _masked(valid, back.dz), _masked(valid, back.dh)
            if var is not None and variances is not None:
                before = before._replace(dh_var=var.dh_before, dc_var=var.dc_before)
            # Nothing goes back to a state that was not used.
            before = Carried(*self.fresh(rows.start + k, *before))
            if var is not None and variances is not None:
                variances.dz[k], variances.dh[k] = _masked(valid, var.dz), _masked(valid, var.dh)
            carried = Carried(*keep(valid, carried, before))
        return carried

    def _before(self, state: Quantity, first: Array, rows: slice) -> tuple[Array, Array | None]:
        """The states before some timesteps, and their variances; the initial one is exact, and so are zeros."""
        if rows.start:
            value, var = state.precise(slice(rows.start - 1, rows.stop - 1), self.noise)
        else:
            value, var = state.precise(slice(0, rows.stop - 1), self.noise)
            value = np.concatenate([first[None], value])
            var = None if var is None else np.concatenate([np.zeros_like(first)[None], var])
        if self.resets is None:
            return value, var
        anew = self.resets[rows][..., None]
        return np.where(anew, 0, value), None if var is None else np.where(anew, 0, var)


def _kicked_back(kicks: Kicks, back: Back, var: Back) -> Back:
    """Put a step backward off by what rounding may do to it alone."""
    return back._replace(
        dz=kicks("dz", back.dz, var.dz),
        dh_before=kicks("dh", back.dh_before, var.dh_before),
        dc_before=kicks("dc", back.dc_before, var.dc_before),
    )


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
