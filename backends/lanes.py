"""Layers and directions as a plain loop, whatever the framework: what backends of cells have in common.

A lane is one direction of one layer (``harness.cases.tensors.Lane``). ``network`` goes through the lanes, ``loop``
through the timesteps of one; both only call what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lockstep.harness.adapters.trace import Parameter
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, lanes, name_of
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.layout import gradients_of

Tensor = Any  # of any framework
Tensors = dict[str, Tensor]
State = tuple[Tensor, Tensor]  # (h, c): (B, P), (B, H)


class Ends(NamedTuple):
    """Where sequences end and start anew; None where all are whole."""

    lengths: Tensor = None  # (B,)
    resets: Tensor = None  # (T, B)

    @classmethod
    def of(cls, problem: Problem, make: Callable[[Array], Tensor]) -> Ends:
        """Those of a problem, as tensors."""
        return cls(*(None if array is None else make(array) for array in (problem.lengths, problem.resets)))


# From the lane's place in the order of lanes, the lane, x (T, B, I) and its first state: h (T, B, P), h_n and c_n
# (B, ·), and c (T, B, H) if it is known.
RunLane = Callable[[int, Lane, Tensor, State], Tensors]


def network(
    lstm: LSTM,
    run_lane: RunLane,
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    *,
    concatenate: Callable[[list[Tensor]], Tensor],
    stack: Callable[[list[Tensor]], Tensor],
) -> tuple[State, Tensors]:
    """Run all lanes.

    Args:
        lstm: The network.
        run_lane: Runs one lane.
        x: (T, B, I).
        h0: (L D, B, P).
        c0: (L D, B, H).
        concatenate: Puts both directions' h side by side, along the last axis.
        stack: Makes one array of arrays.

    Returns:
        What a loss sees: h of the top layer (T, B, D P) and c_n (L D, B, H); and every tensor by its name in a trace.
    """
    below, above, finals, named = x, [], [], {}
    for k, lane in enumerate(lanes(lstm)):
        tensors = run_lane(k, lane, below, (h0[k], c0[k]))
        above.append(tensors["h"])
        finals.append(tensors["c_n"])
        named |= {name_of(kind, lane, lstm): tensor for kind, tensor in tensors.items()}
        # Both directions of a layer take what is below it; side by side or merged they are what is below the next.
        if len(above) == len(lstm.directions):
            below, above = joined(lstm, above, concatenate), []
    if lstm.merged:
        named["h"] = below
    return (below, stack(finals)), named


def joined(lstm: LSTM, outputs: Sequence[Tensor], concatenate: Callable[[list[Tensor]], Tensor]) -> Tensor:
    """What a layer gives of the h of its directions."""
    if not lstm.merged:
        return outputs[0] if len(outputs) == 1 else concatenate(list(outputs))
    forward, reverse = outputs
    if lstm.merge_mode == "mul":
        return forward * reverse
    return (forward + reverse) / 2 if lstm.merge_mode == "ave" else forward + reverse


def by_lane(flat: Sequence[Tensor], names: Sequence[str]) -> list[dict[str, Tensor]]:
    """What stands in one row for all lanes, as one dict by name for each."""
    count = len(names)
    return [dict(zip(names, flat[k : k + count], strict=True)) for k in range(0, len(flat), count)]


def gradients(lstm: LSTM, dialect: Dialect, of_weights: Sequence[Arrays], dx: Array, dh0: Array, dc0: Array) -> Arrays:
    """A trace's gradients of those of all lanes, whose weights are stored under a dialect."""
    named: Arrays = {"dx": dx}
    for k, lane in enumerate(lanes(lstm)):
        of_lane = {"dh0": dh0[k], "dc0": dc0[k], **gradients_of(of_weights[k], dialect, bias=lstm.bias)}
        named |= {name_of(kind, lane, lstm): array for kind, array in of_lane.items()}
    return named


def parameters(lstm: LSTM, of_lanes: Sequence[Mapping[str, Tensor]]) -> tuple[Parameter, ...]:
    """A trace's parameters: what each lane's are called, and their shapes."""
    return tuple(
        Parameter(name_of(name, lane, lstm), tuple(tensor.shape))
        for lane, tensors in zip(lanes(lstm), of_lanes, strict=True)
        for name, tensor in tensors.items()
    )


def loop(
    step: Callable[[Tensor, State], State],
    x: Sequence[Tensor],
    first: State,
    valid: Sequence[Tensor] | None,
    *,
    anew: Sequence[Tensor] | None = None,
    reverse: bool,
    where: Callable[[Tensor, Tensor, Tensor], Tensor],
    zeros_like: Callable[[Tensor], Tensor],
    stack: Callable[[list[Tensor]], Tensor],
) -> Tensors:
    """Call ``step(x_t, (h, c)) -> (h, c)`` in a loop over the timesteps, the reverse direction from the last one.

    Past its end a sequence keeps its state, and its h is 0; in the reverse direction it keeps its first state until
    its own last timestep comes. What is in the padding is set to 0 first: of what is not taken the gradient is 0, and 0
    times NaN would be NaN.

    Args:
        step: The cell.
        x: T arrays (B, I).
        first: The first state.
        valid: T arrays of truth values (B, 1), for sequences of different lengths.
        anew: T arrays of truth values (B, 1): where the state is 0 before the step.
        reverse: The direction.
        where: Of a condition and two arrays.
        zeros_like: Of an array.
        stack: Makes one array of arrays.

    Returns:
        h (T, B, P), c (T, B, H), h_n, c_n.
    """
    (h, c), hs, cs = first, [None] * len(x), [None] * len(x)
    if not len(x):
        # Arrays of no timestep are made of no array, which no framework stacks.
        return {"h": stack([h])[:0], "c": stack([c])[:0], "h_n": h, "c_n": c}
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        x_t = x[t] if valid is None else where(valid[t], x[t], zeros_like(x[t]))
        if anew is not None:
            h, c = (where(anew[t], zeros_like(state), state) for state in (h, c))
        new_h, new_c = step(x_t, (h, c))
        if valid is None:
            hs[t], h, c = new_h, new_h, new_c
        else:
            hs[t] = where(valid[t], new_h, zeros_like(new_h))
            h, c = where(valid[t], new_h, h), where(valid[t], new_c, c)
        cs[t] = c
    if reverse and valid is not None:
        # Past a sequence's end the loop still held the first state; a trace has the last one there.
        cs = [where(v, c_t, c) for v, c_t in zip(valid, cs, strict=True)]
    return {"h": stack(hs), "c": stack(cs), "h_n": h, "c_n": c}
