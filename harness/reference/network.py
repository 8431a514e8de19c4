"""A whole network: its lanes layer by layer forward, and from the top layer down backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays, by_rows
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import TIMED, Lane, has_weight_steps, name_of, output_of, tensors_of, turned
from lockstep.harness.reference import exact
from lockstep.harness.reference.cell import Cell
from lockstep.harness.reference.expected import Expected, ExpectedTensor, LaneResults, Quantity
from lockstep.harness.reference.noise import Kicks, Noise
from lockstep.harness.reference.walk import Walk
from lockstep.harness.reference.weight_gradients import Chunk, contributions, joined
from lockstep.harness.text import grouped


def expect_network(problem: Problem, quantised: str | None = None) -> Expected:
    """Compute every value with the noise that rounding in the case's dtype can give it.

    Returns:
        Every tensor of ``harness.cases.tensors.tensors_of`` by name, in that order.
    """
    network = Network(problem, noise=Noise.of(problem.case.run.dtype, quantised))
    with np.errstate(all="ignore"):
        results = network.forward(noisy=True)
        named: dict[str, Any] = network.backward(results, noisy=True) if problem.dh is not None else {}
        for lane in list(results):  # one by one: what is turned round into the order of time is there twice
            named |= network.named({lane: results.pop(lane)})
        # Only of float64, and only where no longdouble is wider: elsewhere the reference is better than what it judges.
        if exact.wanted(problem.case):
            named = exact.refined(named, exactly(problem))
        return {name: named[name] for name in tensors_of(problem.case)}


def exactly(problem: Problem) -> Arrays:
    """Compute values and gradients as arrays of balls, see ``harness.reference.exact``."""
    network = Network(problem, noise=exact.Balls.of(problem.case.run.dtype))
    results = network.forward(noisy=False)
    gradients = {} if problem.dh is None else network.backward(results, noisy=False)
    return {name: tensor.value for name, tensor in (network.named(results) | gradients).items()}


def expect_steps(
    problem: Problem,
    lane: Lane,
    observed: Arrays,
    below: Array | None,
    steps: slice,
    quantised: str | None = None,
) -> Expected:
    """Compute timesteps of a lane alone, each from the state that was observed before it; it and inputs count as exact.

    ``observed`` are its ``h`` (T, B, P) and ``c`` (T, B, H), in the lane's own order of time, as are ``steps``;
    ``below`` is what the layer below gave, (T, B, directions x P), as observed, None for the first layer.
    """
    network = Network(problem, noise=Noise.of(problem.case.run.dtype, quantised))
    with np.errstate(all="ignore"):
        inputs = network.inputs() if below is None else Quantity(below)
        return network.walk(lane, inputs).each_step(observed["h"], observed["c"], steps)


class Network:
    """A problem's lanes, each a walk."""

    def __init__(self, problem: Problem, kicks: Kicks | None = None, noise: Noise | None = None) -> None:
        """Take a problem; with ``kicks`` its batch holds copies that are put off by rounding."""
        self.kicks = kicks
        self.problem, self.lstm = problem, problem.case.lstm
        self.noise = noise or Noise.of(problem.case.run.dtype)
        self.lanes = [lane for lane, _ in problem.lanes()]
        self.layers = list(grouped(self.lanes, lambda lane: lane.layer).values())
        self.walks: dict[Lane, Walk] = {}  # made going forward; the way back goes over them again

    def inputs(self) -> Quantity:
        """What the first layer takes in: past its end a sequence holds nothing, whatever stands there.

        Its gradient is 0 there, and 0 times NaN would be NaN.
        """
        x, lengths = self.problem.x, self.problem.lengths
        if lengths is None:
            return Quantity(x)
        return Quantity(np.where(np.arange(len(x))[:, None, None] < lengths[:, None], x, x.dtype.type(0)))

    def walk(self, lane: Lane, inputs: Quantity) -> Walk:
        """A lane's walk over inputs that are in order of time."""
        k = self.lanes.index(lane)
        cell = Cell(self.lstm, self.problem.weights[lane.layer][k % len(self.lstm.directions)], self.noise)
        h0, c0 = self.problem.states("h0")[k], self.problem.states("c0")[k]
        p = self.problem
        return Walk(cell, self.in_time(inputs, lane), h0, c0, p.lengths, self.kicks, resets=p.resets)

    def turn(self, array: Array) -> Array:
        """Turn (T, B, n) round within lengths; done twice it undoes itself."""
        return turned(array, self.problem.lengths)

    def in_time(self, result: Quantity, lane: Lane) -> Quantity:
        """Bring what a lane takes or gives per timestep from its own order into that of time, or back."""
        if not lane.reverse:
            return result
        lengths = self.problem.lengths
        return result.each(
            lambda array: by_rows(lambda rows: np.ascontiguousarray(turned(array, lengths, rows)), array)
        )

    def named(self, results: dict[Lane, LaneResults]) -> LaneResults:
        """What lanes gave, by the names of tensors, in the order of time."""
        return {
            name_of(kind, lane, self.lstm): self.in_time(result, lane) if kind in TIMED else result
            for lane, by_kind in results.items()
            for kind, result in by_kind.items()
        }

    def forward(self, *, noisy: bool) -> dict[Lane, LaneResults]:
        """Run the lanes layer by layer, with noise or without; what they give is in each lane's own order."""
        inputs = self.inputs()
        results: dict[Lane, LaneResults] = {}
        for layer in self.layers:
            for lane in layer:
                self.walks[lane] = walk = self.walk(lane, inputs)
                results[lane] = {**walk.expected()} if noisy else walk.values()
            # The layer above takes the directions, each in the order of time again.
            if self.lstm.merged:
                inputs = self._merged(results, layer)
            elif layer[0].layer < self.lstm.num_layers - 1:
                h, *others = self._outputs(results, layer)
                inputs = h.each(_side_by_side, *others)
        if self.lstm.merged:
            results[output_of(self.lstm)] = {"h": inputs}
        return results

    def _outputs(self, results: dict[Lane, LaneResults], layer: list[Lane]) -> list[Quantity]:
        """What the lanes of a layer give, in the order of time."""
        return [self.in_time(results[lane]["h"], lane) for lane in layer]

    def _merged(self, results: dict[Lane, LaneResults], layer: list[Lane]) -> Quantity:
        """Make one output of both directions: their sum, mean or product."""
        h, h_var, other, other_var = self._precise(self._outputs(results, layer))
        if self.lstm.merge_mode == "mul":
            made, variance = h * other, None
            if h_var is not None and other_var is not None:
                variance = other * other * h_var + h * h * other_var
        else:
            made = h + other
            variance = None if h_var is None or other_var is None else h_var + other_var
            if self.lstm.merge_mode == "ave":  # to halve rounds nothing
                made, variance = made / 2, None if variance is None else variance / 4
        return self._rounded(made, variance)

    def _passed_to(self, k: int, cotangent: Quantity, results: dict[Lane, LaneResults], layer: list[Lane]) -> Quantity:
        """What goes back to direction ``k`` of a layer from what goes back to its output."""
        if not self.lstm.merged:
            return cotangent.each(lambda dh: np.split(dh, len(layer), axis=-1)[k])
        dh, dh_var = cotangent.precise(..., self.noise)
        if self.lstm.merge_mode == "ave":
            return self._rounded(dh / 2, None if dh_var is None else dh_var / 4, exact=True)
        if self.lstm.merge_mode == "sum":
            return cotangent
        other, other_var = self._outputs(results, layer)[1 - k].precise(..., self.noise)
        if other_var is None:
            return self._rounded(dh * other, None)
        dh_var = np.zeros_like(dh) if dh_var is None else dh_var
        return self._rounded(dh * other, other * other * dh_var + dh * dh * other_var)

    def _precise(self, pair: list[Quantity]) -> tuple[Array, Array | None, Array, Array | None]:
        """Values and variances of both directions."""
        first, second = (part.precise(..., self.noise) for part in pair)
        return *first, *second

    def _rounded(self, made: Array, variance: Array | None, *, exact: bool = False) -> Quantity:
        """What was computed of both directions, and its rounding; of ``exact`` there is none."""
        if variance is not None:
            return ExpectedTensor.of(made, variance if exact else variance + self.noise.rounded(made), self.noise)
        if self.kicks is None or exact:
            return Quantity(made)
        return Quantity(np.stack([self.kicks("merged", step, self.noise.rounded(step)) for step in made]))

    def backward(
        self, results: dict[Lane, LaneResults], *, noisy: bool, chunks: dict[Lane, list[Chunk]] | None = None
    ) -> LaneResults:
        """Go back through the lanes, from the top layer down, with noise or without.

        ``chunks`` gets, if given, what each lane's gradients of weights are made of, as of ``Walk.gradients``.
        """
        assert self.problem.dh is not None
        named: LaneResults = {}
        # Copies keep the chunks alone: a gradient by timestep of each of them would not fit into memory.
        with_steps = noisy and has_weight_steps(self.problem.case)
        dh = Quantity(self.problem.dh)
        for layer in reversed(self.layers):
            below = []
            for k, lane in enumerate(layer):
                walk, dc = self.walks[lane], self.problem.states("dc")[self.lanes.index(lane)]
                cotangent = self.in_time(self._passed_to(k, dh, results, layer), lane)
                kept: list[Chunk] | None = [] if with_steps or chunks is not None else None
                gradients = walk.gradients(results[lane], cotangent, dc, noisy=noisy, chunks=kept)
                if with_steps and kept is not None:
                    gradients |= contributions(walk.cell, self.by_timestep(kept, lane))
                if chunks is not None and kept is not None:
                    chunks[lane] = kept
                below.append(self.in_time(gradients.pop("dx"), lane))  # of x, not of the lane
                named |= {
                    name_of(kind, lane, self.lstm): gradient for kind, gradient in gradients.items()
                    # Without a bias b is zeros, which no implementation has a gradient for.
                    if self.lstm.bias or kind not in {"db", "db_t"}
                }  # fmt: skip
            dh = named["dx"] = below[0] if len(below) == 1 else self._added(*below)
        return named

    def by_timestep(self, chunks: list[Chunk], lane: Lane) -> Chunk:
        """What each timestep's contribution to a lane's weights is made of, in order of time."""
        return joined(chunks, self.turn if lane.reverse else np.asarray)

    def _added(self, first: Quantity, second: Quantity) -> Quantity:
        """Add what two directions pass on to one input."""
        noise = self.noise
        values, variances = zip(*(part.precise(..., noise) for part in (first, second)), strict=True)
        total = values[0] + values[1]
        if variances[0] is None:
            return Quantity(total)
        # Two sums that were rounded each, and their sum once more.
        return ExpectedTensor.of(total, variances[0] + variances[1] + noise.u2 * (total * total), noise)


def _side_by_side(*arrays: Array) -> Array:
    return by_rows(lambda rows: np.concatenate([array[rows] for array in arrays], axis=-1), *arrays)
