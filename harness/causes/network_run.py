"""A network on a tape: its lanes layer by layer, and the way back; values, or values with noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, has_weight_steps, lanes, name_of, tensors_of
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.stored import Gradient, GradientSums, Stored, WeightKey
from lockstep.harness.causes.tape import Node, NodeTape, Slot, variance_of, with_candidates
from lockstep.harness.reference.noise import Noise

Computed = dict[str, tuple[Array, Array | None]]  # values and variances, by tensor
TensorCallback = Callable[[str, Array], None]  # told of each tensor as soon as it is there; raises to end the run


SEQUENCES_NDIM = 3  # of whole sequences (T, B, n); candidates have an axis of their own behind time
OUTPUT = "output of the network"  # the edge that it goes over, directions side by side


def label_of(place: Lane) -> str:
    """How a lane is called in edits."""
    return f"{place.layer}{'r' if place.reverse else ''}"


def weights_of(problem: Problem) -> dict[WeightKey, Array]:
    """All weights of a network, by lane and name, in the order in which they are stored."""
    return {(label_of(place), name): a for place, w in problem.lanes() for name, a in w.arrays().items()}


@lru_cache(maxsize=32)
def stored_of(problem: Problem) -> Stored:
    """All weights of a network."""
    return Stored(weights_of(problem), Noise.of(problem.case.run.dtype))


class WantedTensors:
    """The tensors of a run that are wanted, told to who watches as soon as they are there."""

    def __init__(self, wanted: set[str], watch: TensorCallback | None) -> None:
        """Take the names that are asked for, and who is told of each; it may end the run."""
        self.wanted, self.watch = wanted, watch
        self.computed: Computed = {}

    def give(self, name: str, value: Array, variance: Array | None) -> None:
        """Put a tensor beside the others."""
        if name not in self.wanted:
            return
        if self.watch is not None:
            self.watch(name, value)
        self.computed[name] = value, variance


class NetworkRun(WantedTensors):
    """One run of a problem."""

    def __init__(
        self,
        problem: Problem,
        edits: Edits,
        tape: NodeTape,
        watch: TensorCallback | None = None,
        wanted: set[str] | None = None,
        base: NetworkRun | None = None,
    ) -> None:
        """Take a problem, what is edited, and where it is recorded.

        Args:
            problem: What is run.
            edits: What is done otherwise.
            tape: Where it is recorded.
            watch: Told of each tensor, as soon as it is there, and of each timestep of h; may end the run.
            wanted: The tensors that are asked for.
            base: A run without edits, values alone: lanes that no edit reaches are taken from it.
        """
        super().__init__(wanted or set(tensors_of(problem.case)), watch)
        self.base = base
        self.problem, self.edits, self.tape, self.lstm = problem, edits, tape, problem.case.lstm
        self.stored = stored_of(problem)
        self.lanes: dict[Lane, LaneRun] = {}
        self.results: dict[Lane, dict[str, Node]] = {}

    def go(self) -> Computed:
        """Every tensor that is wanted."""
        with np.errstate(all="ignore"):
            self._forward()
            if self.problem.dh is not None and any(name.startswith("d") for name in self.wanted):
                self._backward()
        return self.computed

    # -- forward -------------------------------------------------------------------------------------------------

    def _inputs(self) -> Array:
        """Past its end a sequence holds nothing, whatever stands there, unless an edit brings it to light."""
        x, lengths = self.problem.x, self.problem.lengths
        edited = any(name.startswith(("lengths", "turn", "runs past")) for _, name in self.edits.rules)
        edited = edited or any(site in {"x.seq", "x.turned.seq", "all x"} for _, site in self.edits.changes)
        # Zeros where padding was: what a mask of the input leaves.
        zeros = any(name == "padding is zero" for _, name in self.edits.rules)
        if lengths is None or (edited and not zeros):
            return x
        return np.where(np.arange(len(x))[:, None, None] < lengths[:, None], x, x.dtype.type(0))

    def _forward(self) -> None:
        problem, tape, places = self.problem, self.tape, lanes(self.lstm)
        whole = self.edits.whole
        self.x = tape.exact(self._inputs())
        exact = {name: tape.exact(problem.states(f"{name}0")) for name in "hc"} if self.starts is None else self.starts
        self.h0, self.c0 = exact["h"], exact["c"]
        h0, c0 = whole("all h0", self.h0, self), whole("all c0", self.c0, self)
        starts = [tape.steps(h0), tape.steps(c0)]
        inputs = tape.steps(whole("all x", self.x, self))
        count = len(self.lstm.directions)
        touched = self.edits.touch("")
        for k, place in enumerate(places):
            # Lanes after one that is touched are run again: those above take in what it gives.
            touched = touched or self.edits.touch(label_of(place))
            if self.base is not None and not touched:
                self.results[place] = self.base.results[place]
                self._give_lane(place, self.results[place])
                if (k + 1) % count == 0 and place.layer < self.lstm.num_layers - 1:
                    inputs = self._joined(places[k + 1 - count : k + 1])
                continue
            lane = self.lanes[place] = LaneRun(
                label_of(place), self.lstm, tape, self.stored, self.edits, place.reverse, problem.lengths,
                problem=problem, timesteps=problem.case.run.timesteps, resets=problem.resets,
                is_piece=self.is_piece,
            )  # fmt: skip
            lane.watch, lane.observed = self._step_watch(place), self.observed
            lane.ends = {label_of(before): results for before, results in self.results.items()}
            results = self.results[place] = lane.walk(inputs, starts[0][k], starts[1][k], self._wants(place))
            self._mix(place, results)
            if k + 1 == len(places) and not self.lstm.merged:
                self._change_output(places[-count:])
            self._give_lane(place, results)
            # Upper lanes are not run for what nobody asked of them.
            if self.computed.keys() >= self.wanted:
                return
            if (k + 1) % count == 0 and place.layer < self.lstm.num_layers - 1:
                inputs = self._joined(places[k + 1 - count : k + 1])
        self._give_whole()

    def _mix(self, place: Lane, results: dict[str, Node]) -> None:
        """Have the network return the outputs of several layers together, where that is edited."""
        which = self.edits.rule("", "output of layers", None)
        if which is None or self.lstm.merged or place.layer < self.lstm.num_layers - 1:
            return
        results["h"] = self._mixed(which, [self.results[p]["h"] for p in self.results if p.reverse == place.reverse])

    def _mixed(self, which: str, outputs: list[Node]) -> Node:
        """One output of those of all layers."""
        if which in {"lowest", "second"}:
            return outputs[0 if which == "lowest" else -2]
        outputs = with_candidates(outputs[1:] if which == "upper" else outputs)
        total = self.tape.total(outputs, None, 0)
        return self.tape.scale(total, 1 / len(outputs)) if which == "mean" else total

    def _merged_output(self) -> Node:
        """What the network returns where directions are merged."""
        which = self.edits.rule("", "output of layers", None)
        layers = range(self.lstm.num_layers) if which else [self.lstm.num_layers - 1]
        outputs = [
            self._merged([self.results[place]["h"] for place in self.results if place.layer == layer], "merge")
            for layer in layers
        ]
        return self.edits.whole(OUTPUT, self._mixed(which, outputs) if which else outputs[0], self)

    def _merged(self, pair: list[Node], rule: str) -> Node:
        """Make one output of both directions of a layer."""
        forward, reverse = with_candidates(pair)
        mode = self.edits.rule("", rule, self.lstm.merge_mode)
        if mode in {"forward", "reverse"}:
            return forward if mode == "forward" else reverse
        if mode in {"max", "mul"}:
            return self._product(forward, reverse, largest=mode == "max")
        total = self.tape.total([forward, reverse], None, 0)
        return self.tape.scale(total, 0.5) if mode == "ave" else total

    def _product(self, forward: Node, reverse: Node, *, largest: bool) -> Node:
        """The product of whole sequences, or the larger value of both."""
        tape, without = self.tape, forward.value.ndim == SEQUENCES_NDIM
        if without:  # candidates of the way back have their axis between time and batch
            forward, reverse = (tape.moved(node, _with_axis, _without_axis) for node in (forward, reverse))
        first = forward.value >= reverse.value
        merged = tape.where(first, forward, reverse) if largest else tape.multiply(forward, reverse)
        return tape.moved(merged, _without_axis, _with_axis) if without else merged

    def _change_output(self, top: list[Lane]) -> None:
        """Edit what the network returns, directions side by side."""
        if self._output_is_edited:
            whole = self.edits.whole(OUTPUT, self.tape.join([self.results[place]["h"] for place in top]), self)
            for place, part in zip(top, self.tape.split(whole, len(top)), strict=True):
                self.results[place]["h"] = part

    @property
    def _output_is_edited(self) -> bool:
        return ("", OUTPUT) in self.edits.changes

    def _wants(self, place: Lane) -> Callable[[str], bool]:
        return lambda kind: name_of(kind, place, self.lstm) in self.wanted

    def _step_watch(self, place: Lane) -> Callable[[int, Array], None] | None:
        """Tells of h at each timestep, where it is returned as it is computed."""
        name = name_of("h", place, self.lstm)
        label, lengths = label_of(place), self.problem.lengths
        turned_otherwise = (label, "h.seq") in self.edits.changes or any(
            key[0] == label and key[1].startswith(("turn", "lengths", "returned", "sequences"))
            for key in self.edits.rules
        )
        watch, T = self.watch_step, self.problem.case.run.timesteps
        # While it runs a lane cannot tell where in time its steps will stand in the end.
        if watch is None or name not in self.wanted or turned_otherwise or self.edits.touch(""):
            return None
        if not place.reverse:
            return lambda t, value: watch(name, t, value)
        if lengths is None:
            return lambda t, value: watch(name, T - 1 - t, value)
        sequences = np.arange(len(lengths))
        # Each sequence is at another timestep: its own length less those that are through.
        return lambda t, value: watch(name, (np.where(t < lengths, lengths - 1 - t, t), sequences), value)

    starts: dict[str, Node] | None = None  # h and c of all lanes, where they are not the problem's
    output: Node | None = None  # of both directions, where they are merged
    finals: Mapping[str, Node] = MappingProxyType({})  # of all lanes, before they are edited
    observed: Arrays | None = None  # of a single lane: what each step starts from
    watch_step: Callable[[str, Any, Array], None] | None = None

    @property
    def is_piece(self) -> bool:
        """Whether its sequences are pieces of longer ones."""
        return self.starts is not None

    def _joined(self, below: list[Lane]) -> list[Node]:
        """What the next layer takes in: directions side by side, forward first."""
        parts = [self.results[place]["up"] for place in below]
        if self.edits.rule("", "joined between layers", "right") == "exchanged":
            parts.reverse()
        whole = self._merged(parts, "merge between layers") if self.lstm.merged else self.tape.join(parts)
        joined = self.edits.whole(f"between {below[0].layer}", whole, self)
        return self.tape.steps(joined)

    def _give_lane(self, place: Lane, results: dict[str, Node]) -> None:
        outputs = self.edits.rule("", "joined", "right")
        top = place.layer == self.lstm.num_layers - 1
        for kind, node in results.items():
            other_output = not self.lstm.merged and (outputs != "right" or self._output_is_edited)
            moved = kind in self._edited_finals or (other_output and kind == "h" and top)
            if kind != "up" and not moved:
                self.give(name_of(kind, place, self.lstm), node.value, node.variance)

    @property
    def _edited_finals(self) -> list[str]:
        """The final states that are edited as an array of all lanes, and returned when all are through."""
        return [kind for kind in ("c_n", "h_n") if ("", f"all {kind}") in self.edits.changes]

    def _give_whole(self) -> None:
        """What is returned of lanes in another order, where that is edited."""
        places = lanes(self.lstm)
        if self._edited_finals:
            of_kinds = {kind: [self.results[place][kind] for place in places] for kind in ("c_n", "h_n")}
            self.finals = {kind: self.tape.stack(with_candidates(nodes)) for kind, nodes in of_kinds.items()}
            for kind in self._edited_finals:
                rows = self.tape.steps(self.edits.whole(f"all {kind}", self.finals[kind], self))
                for place, node in zip(places, rows, strict=True):
                    self.give(name_of(kind, place, self.lstm), node.value, node.variance)
        if self.lstm.merged:
            self.output = self._merged_output()
            self.give("h", self.output.value, self.output.variance)
            return
        if self._output_is_edited:
            for place in places[-len(self.lstm.directions) :]:
                node = self.results[place]["h"]
                self.give(name_of("h", place, self.lstm), node.value, node.variance)
        if self.edits.rule("", "joined", "right") == "exchanged":
            *_, forward, reverse = places
            for place, source in ((forward, reverse), (reverse, forward)):
                node = self.results[source]["h"]
                self.give(name_of("h", place, self.lstm), node.value, node.variance)

    # -- backward ------------------------------------------------------------------------------------------------

    def _backward(self) -> None:
        problem, tape, whole = self.problem, self.tape, self.edits.whole
        assert problem.dh is not None
        top = self.lstm.num_layers - 1
        dh = whole("all dh", tape.exact(problem.dh), self)
        dc = whole("all dc", tape.exact(problem.states("dc")), self)
        widths = np.cumsum([0, *[self.lstm.output_size] * len(self.lstm.directions)])
        cotangents = []
        uppers = [place for place in self.results if place.layer == top]
        for place, a, b in zip(uppers, widths[:-1], widths[1:], strict=True):
            if not self.lstm.merged:
                cotangents.append((self.results[place]["h"], Node(dh.value[..., a:b])))
        if self.output is not None:
            cotangents.append((self.output, Node(dh.value)))
        for k, place in enumerate(self.results):
            cotangents.append((self.results[place]["c_n"], Node(dc.value[k])))
        gradient = go_back(tape, cotangents)
        zeros = {"dx": self.x, "dh0": self.h0, "dc0": self.c0}
        gradients = {name: gradient(node) or tape.zeros(node) for name, node in zeros.items()}
        for place in reversed(self.results):
            self._give_sums(place)
        self._give_gradient("dx", "", gradients["dx"].value, variance_of(gradients["dx"]))
        for k, place in enumerate(self.results):
            for kind in ("dh0", "dc0"):
                node = gradients[self.edits.rule(label_of(place), f"returned {kind}", kind)]
                self._give_gradient(
                    name_of(kind, place, self.lstm), label_of(place), node.value[k], variance_of(node)[k]
                )

    def _give_gradient(self, name: str, label: str, value: Array, variance: Array | None) -> None:
        kind = name.split("_l", maxsplit=1)[0] if not self.lstm.single else name
        for change in self.edits.returned.get((label, kind), ()):
            value = change(value)
            variance = np.abs(change(variance)) if variance is not None and self.tape.noisy else None
        self.give(name, value, variance)

    def _give_sums(self, place: Lane) -> None:
        lane, case = self.lanes[place], self.problem.case
        sums = GradientSums(self.tape.noise, case.run.timesteps, self.problem.lengths, place.reverse)
        gradients = gradients_of(lane, sums, self.stored, by_timestep=has_weight_steps(case))
        for name, gradient in gradients.items():
            if name == "b" and not self.lstm.bias:
                continue
            gradient = returned_for(name, gradients, lane)  # noqa: PLW2901 (another may be returned in its place)
            self._give_gradient(name_of(f"d{name}", place, self.lstm), lane.label, gradient.value, gradient.variance)
            if gradient.by_timestep is not None:
                named = name_of(f"d{name}_t", place, self.lstm)
                self._give_gradient(named, lane.label, gradient.by_timestep, gradient.by_timestep_variance)


def gradients_of(lane: LaneRun, sums: GradientSums, stored: Stored, *, by_timestep: bool) -> dict[str, Gradient]:
    """The gradients of a lane's weights as they are stored.

    What another lane's reading gives to them is not seen here: ports that share arrays by mistake keep gradients apart.
    """
    gradients: dict[str, Gradient] = {}
    size = len(stored.flat)
    for name in lane.names:
        key, shape, T = (lane.label, name), stored.shapes[lane.label, name], sums.timesteps
        total = Gradient(*(np.zeros(shape, stored.flat.dtype) for _ in range(2)))
        if by_timestep:
            total.by_timestep, total.by_timestep_variance = (np.zeros((T, *shape), stored.flat.dtype) for _ in range(2))
        for (leaf_name, *_), leaf in lane.leaves.items():
            part = sums.of(leaf, noisy=lane.tape.noisy, by_timestep=by_timestep) if leaf_name == name else None
            if part is None:
                continue
            for field_, power in (("value", 1), ("variance", 2), ("by_timestep", 1), ("by_timestep_variance", 2)):
                array = getattr(part, field_)
                if array is None or getattr(total, field_) is None:
                    continue
                if leaf.reading is not None:
                    # What is handed out by timestep is right where it is the sum over them that leaves one out.
                    if not leaf.reading.adds and not field_.startswith("by_timestep"):
                        continue
                    array = stored.part(leaf.reading.back(array, size, power), key)
                before = getattr(total, field_)
                if array.ndim > before.ndim and field_.startswith("by_timestep"):
                    before = before[:, None]  # candidates stand behind time
                setattr(total, field_, before + array)
        gradients[name] = total
    return gradients


def returned_for(name: str, gradients: dict[str, Gradient], lane: LaneRun) -> Gradient:
    """What is returned as a weight's gradient."""
    return gradients[lane.rule(f"returned d{name}", f"d{name}")[1:]]


def go_back(tape: NodeTape, cotangents: list[tuple[Node, Node]]) -> Callable[[Node], Node | None]:
    """Go back from results with their cotangents; weights collect their uses.

    Args:
        tape: What was recorded.
        cotangents: Results, and what comes back to each.

    Returns:
        A function that gives the gradient of a value; None where nothing depends on it.
    """
    whole: dict[int, Node] = {}
    parts: dict[int, dict[int, Node]] = {}
    kinds: dict[int, tuple[str, int]] = {}

    def plus(node: Node, gradient: Node, slot: Slot | None) -> None:
        key = id(node)
        if slot is None:
            whole[key] = _plus(tape, whole[key], gradient) if key in whole else gradient
            return
        kind, k, count = slot
        kinds[key] = (kind, count)
        parts_of_node = parts.setdefault(key, {})
        parts_of_node[k] = _plus(tape, parts_of_node[k], gradient) if k in parts_of_node else gradient

    def gradient_of(node: Node) -> Node | None:
        key = id(node)
        # All uses of a value are through by now: its parts can be put together.
        if key in parts:
            joined = _joined(parts.pop(key), *kinds[key])
            whole[key] = _plus(tape, whole[key], joined) if key in whole else joined
        return whole.get(key)

    # What is computed on the way back is not gone back through.
    recorded, tape.records = tape.recorded, False
    try:
        for result, cotangent in cotangents:
            plus(result, cotangent, None)
        for node in reversed(recorded):
            gradient = gradient_of(node)
            if gradient is None:
                continue
            for leaf, step, use in node.uses:
                left, right = use(gradient)
                known = leaf.uses.get(step)
                # Rows of peepholes are used one by one.
                leaf.uses[step] = (left if known is None else accumulated(known[0], left), right)
            for operand, pull, slot in node.sources:
                plus(operand, pull(gradient), slot)
    finally:
        tape.records = True
    return gradient_of


def _with_axis(array: Array) -> Array:
    return array[:, None] if array.ndim == SEQUENCES_NDIM else array


def _without_axis(array: Array) -> Array:
    return array[:, 0] if array.shape[1] == 1 else array


def accumulated(left: Node, right: Node) -> Node:
    """A sum of which one part is 0 everywhere: nothing is rounded."""
    exact = left.variance is None and right.variance is None
    return Node(left.value + right.value, None if exact else variance_of(left) + variance_of(right))


def _plus(tape: NodeTape, left: Node, right: Node) -> Node:
    """Add what comes back from two uses; where one is 0, as past a sequence's end, nothing is rounded."""
    total = accumulated(left, right)
    if not tape.noisy:
        return total
    rounded = np.where((left.value == 0) | (right.value == 0), 0, tape.noise.rounded(total.value))
    if tape.kick is not None:
        return Node(tape.kick(total.value, rounded))
    return Node(total.value, variance_of(total) + rounded)


def _joined(parts: dict[int, Node], kind: str, count: int) -> Node:
    """Put the gradients of parts in their places, zeros where nothing came back."""
    shape = np.broadcast_shapes(*(part.value.shape for part in parts.values()))
    first = next(iter(parts.values()))

    def put(array_of: Callable[[Node], Array]) -> Array:
        arrays = [
            np.broadcast_to(array_of(parts[k]), shape) if k in parts else np.zeros(shape, first.value.dtype)
            for k in range(count)
        ]
        return np.concatenate(arrays, axis=-1) if kind == "columns" else np.stack(arrays)

    exact = all(part.variance is None for part in parts.values())
    return Node(put(lambda part: part.value), None if exact else put(variance_of))
