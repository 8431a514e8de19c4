"""A whole network: its lanes layer by layer forward, and from the top layer down backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import TIMED, Lane, has_weight_steps, name_of, tensors_of, turned
from lockstep.harness.reference import exact
from lockstep.harness.reference.cell import Cell
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise
from lockstep.harness.reference.walk import Inputs, Kicks, Walk
from lockstep.harness.reference.weight_gradients import Operands

LaneTensor = TypeVar("LaneTensor", Array, ExpectedTensor)


def forward(problem: Problem) -> Arrays:
    """Compute the values alone: every tensor of the case but gradients, in the reference's precision."""
    network = Network(problem)
    with np.errstate(all="ignore"):
        return network.in_order(network.named_values(network.forward_values()))


def backward(problem: Problem) -> Arrays:
    """Compute the gradients alone, in the reference's precision; the problem has cotangents."""
    network = Network(problem)
    with np.errstate(all="ignore"):
        values = network.forward_values()
        return network.in_order(network.backward_values(values))


def expect_network(problem: Problem) -> Expected:
    """Compute every value with the noise that rounding in the case's dtype can give it.

    Returns:
        Every tensor of ``harness.cases.tensors.tensors_of`` by name, in that order.
    """
    network = Network(problem)
    with np.errstate(all="ignore"):
        expected = network.forward_expected()
        gradients = network.backward_expected(expected) if problem.dh is not None else {}
        named = {}
        for lane, tensors in expected.items():
            for kind in list(tensors):
                tensor = tensors.pop(kind)
                if lane.reverse and kind in TIMED:
                    tensor = network.turned_out(tensor)
                named[name_of(kind, lane, problem.case.lstm)] = tensor
        named |= gradients
        if exact.wanted(problem.case):
            named = exact.refined(named, exactly(problem))
        return {name: named[name] for name in tensors_of(problem.case)}


def exactly(problem: Problem) -> Arrays:
    """Compute values and gradients as arrays of balls, see ``harness.reference.exact``."""
    network = Network(problem, noise=exact.Balls.of(problem.case.run.dtype))
    values = network.forward_values()
    gradients = {} if problem.dh is None else network.backward_values(values)
    return network.named_values(values) | gradients


def expect_steps(problem: Problem, lane: Lane, observed: Arrays, below: Array | None, steps: slice) -> Expected:
    """Compute timesteps of a lane alone, each from the state that was observed before it.

    Args:
        problem: What was run.
        lane: Which lane.
        observed: Its ``h`` (T, B, P) and ``c`` (T, B, H), in the lane's own order of time.
        below: What the layer below gave, (T, B, directions x P), as observed; None for the first layer.
        steps: Which timesteps, as a range in the lane's own order.

    Returns:
        c and h of those timesteps, as one healthy step gives them; states and inputs count as exact.
    """
    network = Network(problem)
    with np.errstate(all="ignore"):
        inputs = network.inputs() if below is None else Inputs(below)
        return network.walk(lane, inputs).each_step(observed["h"], observed["c"], steps)


class Network:
    """A problem's lanes, each a walk."""

    def __init__(self, problem: Problem, kicks: Kicks | None = None, noise: Noise | None = None) -> None:
        """Take a problem; with ``kicks`` its batch holds copies that are put off by rounding."""
        self.kicks = kicks
        self.problem, self.lstm = problem, problem.case.lstm
        self.noise = noise or Noise.of(problem.case.run.dtype)
        self.lanes = [lane for lane, _ in problem.lanes()]
        self.walks: dict[Lane, Walk] = {}

    def inputs(self) -> Inputs:
        """What the first layer takes in: past its end a sequence holds nothing, whatever stands there.

        Its gradient is 0 there, and 0 times NaN would be NaN.
        """
        x, lengths = self.problem.x, self.problem.lengths
        if lengths is None:
            return Inputs(x)
        return Inputs(np.where(np.arange(len(x))[:, None, None] < lengths[:, None], x, x.dtype.type(0)))

    def walk(self, lane: Lane, inputs: Inputs) -> Walk:
        """A lane's walk over inputs that are in order of time."""
        k = self.lanes.index(lane)
        cell = Cell(self.lstm, self.problem.weights[lane.layer][k % len(self.lstm.directions)], self.noise)
        if lane.reverse:
            inputs = inputs.each(self.turn)
        h0, c0 = self.problem.states("h0")[k], self.problem.states("c0")[k]
        return Walk(cell, inputs, h0, c0, self.problem.lengths, self.kicks)

    def turn(self, array: Array) -> Array:
        """Turn (T, B, n) round within lengths; done twice it undoes itself."""
        return turned(array, self.problem.lengths)

    def turned_out(self, tensor: ExpectedTensor) -> ExpectedTensor:
        """Bring what a reverse lane gave into the order of time."""
        return tensor.each(lambda array: np.ascontiguousarray(self.turn(array)))

    def right_way(self, array: Array, kind: str, lane: Lane) -> Array:
        """Bring what a lane gave in its own order into the order of time."""
        return self.turn(array) if lane.reverse and kind in TIMED else array

    def named_values(self, values: dict[Lane, Arrays]) -> Arrays:
        """What lanes gave, by the names of tensors, in the order of time."""
        return {
            name_of(kind, lane, self.lstm): self.right_way(array, kind, lane)
            for lane, arrays in values.items()
            for kind, array in arrays.items()
        }

    def in_order(self, named: dict[str, Any]) -> dict[str, Any]:
        """Sort tensors by when they are computed."""
        return {name: named[name] for name in tensors_of(self.problem.case) if name in named}

    def _layers(self) -> list[list[Lane]]:
        count = len(self.lstm.directions)
        return [self.lanes[k : k + count] for k in range(0, len(self.lanes), count)]

    def forward_values(self) -> dict[Lane, Arrays]:
        """Run the lanes; arrays are in each lane's own order."""
        return self._forward(Walk.values, lambda h: Inputs(self._side_by_side(h)))

    def forward_expected(self) -> dict[Lane, Expected]:
        """Run the lanes with noise; tensors are in each lane's own order."""

        def above(h: list[ExpectedTensor]) -> Inputs:
            parts = zip(*((tensor.value, tensor.rest, tensor.noise) for tensor in h), strict=True)
            return Inputs(*(self._side_by_side(list(part)) for part in parts))

        return self._forward(Walk.expected, above)

    def _forward(
        self, run: Callable[[Walk], dict[str, LaneTensor]], above: Callable[[list[LaneTensor]], Inputs]
    ) -> dict[Lane, dict[str, LaneTensor]]:
        """Run the lanes layer by layer; ``above`` makes what the next layer takes in of the h of one."""
        inputs = self.inputs()
        by_lane: dict[Lane, dict[str, LaneTensor]] = {}
        for layer in self._layers():
            for lane in layer:
                self.walks[lane] = self.walk(lane, inputs)
                by_lane[lane] = run(self.walks[lane])
            if layer[0].layer < self.lstm.num_layers - 1:
                inputs = above([self._in_time(by_lane[lane]["h"], lane) for lane in layer])
        return by_lane

    def _in_time(self, h: LaneTensor, lane: Lane) -> LaneTensor:
        if not lane.reverse:
            return h
        return self.turned_out(h) if isinstance(h, ExpectedTensor) else self.right_way(h, "h", lane)

    def backward_values(self, values: dict[Lane, Arrays], operands: dict[Lane, list[Operands]] | None = None) -> Arrays:
        """Go back through the lanes, from the top layer down; ``operands`` as in ``Walk.gradient_values``."""
        assert self.problem.dh is not None
        named: Arrays = {}
        dh = self.noise.taken(self.problem.dh)
        for layer in reversed(self._layers()):
            below = []
            for lane, dh_of_lane in zip(layer, self._apart(dh), strict=True):
                dc = self.problem.states("dc")[self.lanes.index(lane)]
                cotangent = self.turn(dh_of_lane) if lane.reverse else dh_of_lane
                kept = None if operands is None else operands.setdefault(lane, [])
                gradients = self.walks[lane].gradient_values(values[lane], cotangent, dc, kept)
                below.append(self.right_way(gradients.pop("dx"), "dx", lane))
                named |= self._named(gradients, lane)
            dh = sum(below[1:], start=below[0])
        return named | {"dx": dh}

    def backward_expected(self, expected: dict[Lane, Expected]) -> Expected:
        """Go back through the lanes with noise, from the top layer down."""
        assert self.problem.dh is not None
        named: Expected = {}
        steps = has_weight_steps(self.problem.case)
        dh = Inputs(self.problem.dh)
        for layer in reversed(self._layers()):
            below = []
            parts = [(None,) * len(layer) if a is None else self._apart(a) for a in (dh.value, dh.rest, dh.noise)]
            for lane, *parts_of_lane in zip(layer, *parts, strict=True):
                dc = self.problem.states("dc")[self.lanes.index(lane)]
                cotangent = Inputs(*parts_of_lane)  # type: ignore[arg-type]
                if lane.reverse:
                    cotangent = cotangent.each(self.turn)
                gradients, contributions = self.walks[lane].gradients(expected[lane], cotangent, dc, by_timestep=steps)
                if lane.reverse:
                    gradients["dx"] = gradients["dx"].each(self.turn)
                if contributions is not None:
                    in_time = contributions.turned(self.problem.lengths) if lane.reverse else contributions
                    gradients |= in_time.expected()
                below.append(gradients.pop("dx"))
                named |= self._named(gradients, lane)
            total = below[0] if len(below) == 1 else self._added(below[0], below[1])
            dh = Inputs(total.value, total.rest, total.noise)
            named["dx"] = total
        return named

    def _added(self, first: ExpectedTensor, second: ExpectedTensor) -> ExpectedTensor:
        """Add what two directions pass on to one input."""
        noise = self.noise
        values = [t.value.astype(noise.precision) + t.rest for t in (first, second)]
        total = values[0] + values[1]
        variance = np.square(first.noise, dtype=noise.precision) + np.square(second.noise, dtype=noise.precision)
        return ExpectedTensor.of(total, variance + noise.u2 * (total * total), noise)

    def _named(self, tensors: dict[str, Any], lane: Lane) -> dict[str, Any]:
        kinds = {kind: tensor for kind, tensor in tensors.items() if self.lstm.bias or kind not in {"db", "db_t"}}
        return {name_of(kind, lane, self.lstm): tensor for kind, tensor in kinds.items()}

    @staticmethod
    def _side_by_side(parts: list[Array]) -> Array:
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _apart(self, array: Array) -> list[Array]:
        return np.split(array, len(self.lstm.directions), axis=-1)
