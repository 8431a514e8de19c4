"""What goes wrong in whole networks: directions, layers, projections, other cells, gradients. Each proved like a fault.

A variation is the problem with something changed, run by the reference itself, and what is made of its results. The
faults of ``harness.faults.catalogue`` are about what one plain layer does from step to step; these are about
everything around it, and about the way back. An explanation holds if the reference reproduces every number of every
observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import msgspec
import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.gates import GATES, blocks, reorder
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.cases.tensors import Lane, lanes, name_of
from lockstep.harness.faults.fault import Variation, only_if
from lockstep.harness.faults.gradient_faults import gradient_variations
from lockstep.harness.reference.activations import ACTIVATIONS
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.network import Way
from lockstep.harness.weights.layout import with_forget_bias


def variations() -> Iterator[Variation]:
    """Every variation, plain ones before special ones."""
    yield from _DIRECTIONS
    yield from _states()
    yield from _CELLS
    yield from _orders_and_activations()
    yield from _weights()
    yield from _lengths()
    yield from gradient_variations()


# -- directions and layers ---------------------------------------------------------------------------------------


def _has_reverse(problem: Problem) -> bool:
    return problem.case.lstm.direction != "forward"


def _bidirectional(problem: Problem) -> bool:
    return problem.case.lstm.direction == "bidirectional"


def _reversible_within(problem: Problem) -> bool:
    return _has_reverse(problem) and problem.lengths is not None


def _lanes_from(problem: Problem, source: Callable[[int, int], tuple[int, int]]) -> Problem | None:
    """Exchange weights: each lane gets those of its source; None where they do not fit, or nothing changes."""
    rows, changes = [], False
    for layer, row in enumerate(problem.weights):
        taken_row = []
        for d, weights in enumerate(row):
            from_layer, from_d = source(layer, d)
            taken = problem.weights[from_layer][from_d]
            if any(taken.arrays()[name].shape != array.shape for name, array in weights.arrays().items()):
                return None
            changes = changes or taken is not weights
            taken_row.append(taken)
        rows.append(tuple(taken_row))
    return replace(problem, weights=tuple(rows)) if changes else None


def _shared_direction(problem: Problem, d: int) -> Problem | None:
    return _lanes_from(problem, lambda layer, _: (layer, d)) if _bidirectional(problem) else None


def _exchanged_directions(problem: Problem) -> Problem | None:
    return _lanes_from(problem, lambda layer, d: (layer, 1 - d)) if _bidirectional(problem) else None


def _reversed_layers(problem: Problem) -> Problem | None:
    return _lanes_from(problem, lambda layer, d: (problem.case.lstm.num_layers - 1 - layer, d))


def _shared_layers(problem: Problem) -> Problem | None:
    def source(layer: int, d: int) -> tuple[int, int]:
        shape = problem.weights[layer][d].W.shape
        return next(k for k in range(layer + 1) if problem.weights[k][d].W.shape == shape), d

    return _lanes_from(problem, source)


def _exchanged_between_layers(problem: Problem) -> Problem | None:
    """Upper layers read [reverse; forward]: the columns of their input kernels in the other order."""
    if not _bidirectional(problem):
        return None
    P = problem.case.lstm.output_size
    return _changed_upper(problem, lambda W: np.concatenate([W[:, P:], W[:, :P]], axis=1))


def _zeroed_between_layers(problem: Problem, d: int) -> Problem | None:
    if not _bidirectional(problem) or problem.case.lstm.num_layers == 1:
        return None
    P = problem.case.lstm.output_size
    keep = np.arange(2 * P) // P == d
    return _changed_upper(problem, lambda W: (W * keep).astype(W.dtype))


def _changed_upper(problem: Problem, change: Callable[[Array], Array]) -> Problem:
    first, *upper = problem.weights
    changed = [tuple(replace(w, W=change(w.W)) for w in row) for row in upper]
    return replace(problem, weights=(first, *changed))


def _exchanged_outputs(expected: Expected, problem: Problem) -> Expected:
    top = problem.case.lstm.num_layers - 1
    names = [f"h{Lane(top, reverse).suffix}" for reverse in (False, True)]
    return expected | {names[0]: expected[names[1]], names[1]: expected[names[0]]}


def _last_output_as_final(expected: Expected, problem: Problem) -> Expected:
    lstm, changed = problem.case.lstm, dict(expected)
    for lane in lanes(lstm):
        if lane.reverse:
            changed[name_of("h_n", lane, lstm)] = expected[name_of("h", lane, lstm)].at(-1)
    return changed


_DIRECTIONS = (
    Variation(
        "reverse-not-reversed",
        "The reverse direction goes from the first timestep to the last, like the forward one.",
        "Turn the inputs of the reverse direction round, and its outputs back.",
        only_if(_has_reverse),
        Way("not", "not"),
    ),
    Variation(
        "reverse-output-not-turned-back",
        "The outputs of the reverse direction stand in the order in which they were computed, last timestep first.",
        "Turn the outputs of the reverse direction back, so that h[t] belongs to x[t].",
        only_if(_has_reverse),
        Way("within lengths", "not"),
        met="Keras' go_backwards returns outputs in reverse order; Bidirectional turns them back.",
    ),
    Variation(
        "reverse-whole-array",
        "The whole array is turned round for the reverse direction, so that padding comes first.",
        "Turn each sequence round within its own length (tf.reverse_sequence, packed sequences).",
        only_if(_reversible_within),
        Way("whole", "whole"),
        met="microsoft/onnxruntime#4187.",
    ),
    Variation(
        "reverse-output-whole-array",
        "Inputs are turned round within lengths, and outputs are turned back over the whole array.",
        "Turn the outputs back within lengths too.",
        only_if(_reversible_within),
        Way("within lengths", "whole"),
    ),
    Variation(
        "directions-exchanged",
        "Forward and reverse direction have each other's weights.",
        "Give each direction its own weights; PyTorch's are those with and without _reverse, ONNX' the two rows.",
        _exchanged_directions,
    ),
    *(
        Variation(
            f"directions-share-{direction}-weights",
            f"Both directions use the weights of the {direction} one.",
            "Give each direction weights of its own.",
            partial(_shared_direction, d=d),
        )
        for d, direction in enumerate(("forward", "reverse"))
    ),
    Variation(
        "direction-outputs-exchanged",
        "The outputs of both directions stand side by side in the wrong order: reverse first.",
        "Put the forward direction's output first.",
        _exchanged_between_layers,
        returned=_exchanged_outputs,
    ),
    Variation(
        "upper-layers-see-forward-only",
        "The upper layers take in the output of the forward direction alone.",
        "Feed the outputs of both directions, side by side, into the next layer.",
        partial(_zeroed_between_layers, d=0),
    ),
    Variation(
        "layers-share-weights",
        "All layers use the weights of the lowest one that fits them.",
        "Give each layer weights of its own.",
        _shared_layers,
    ),
    Variation(
        "layers-in-reverse-order",
        "The layers' weights are taken from the top layer down.",
        "Take them from the lowest layer up.",
        _reversed_layers,
    ),
    Variation(
        "reverse-final-state-of-last-timestep",
        "The final hidden state of the reverse direction is its output at the last timestep, its first step.",
        "Take the reverse direction's output at timestep 0, or the state that the framework returns.",
        only_if(_has_reverse),
        returned=_last_output_as_final,
        met="Stack Overflow, output[-1] of a bidirectional nn.LSTM.",
    ),
)


# -- states ------------------------------------------------------------------------------------------------------


def _states() -> Iterator[Variation]:
    starts: tuple[tuple[str, str, Callable[[Array, Array, Problem], Array | None]], ...] = (
        ("initial-state-zero", "Every lane starts from zeros.", lambda state, partner, p: np.zeros_like(state)),
        ("initial-state-of-first-lane", "Every lane starts from the initial state of the first.", _first_lane),
        ("initial-state-by-direction", "Initial states are taken direction by direction instead of layer by layer.",
         _by_direction),
        ("initial-state-layers-reversed", "Initial states are taken from the top layer down.", _layers_reversed),
        ("initial-states-exchanged", "The initial h is taken for c, and c for h.",
         lambda state, partner, p: partner if state.shape == partner.shape else None),
    )  # fmt: skip
    for name, message, change in starts:
        yield Variation(
            name,
            message,
            "Start each lane from its own row of h0 and c0: layer by layer, forward before reverse.",
            partial(_started, change=change),
        )
    yield Variation(
        "final-states-by-direction",
        "Final states are returned direction by direction instead of layer by layer.",
        "Return final states layer by layer, forward before reverse.",
        only_if(lambda problem: _bidirectional(problem) and problem.case.lstm.num_layers > 1),
        returned=partial(_reordered_finals, order=_direction_order),
    )
    yield Variation(
        "final-states-layers-reversed",
        "Final states are returned from the top layer down.",
        "Return final states from the lowest layer up.",
        only_if(lambda problem: problem.case.lstm.num_layers > 1),
        returned=partial(_reordered_finals, order=_layer_order),
    )


def _started(problem: Problem, change: Callable[[Array, Array, Problem], Array | None]) -> Problem | None:
    h0, c0 = change(problem.h0, problem.c0, problem), change(problem.c0, problem.h0, problem)
    return None if h0 is None or c0 is None else replace(problem, h0=h0.copy(), c0=c0.copy())


def _first_lane(state: Array, _partner: Array, problem: Problem) -> Array | None:
    return None if problem.case.lstm.single else np.broadcast_to(state[:1], state.shape)


def _direction_order(problem: Problem) -> list[int]:
    D = len(problem.case.lstm.directions)
    return [layer * D + d for d in range(D) for layer in range(problem.case.lstm.num_layers)]


def _layer_order(problem: Problem) -> list[int]:
    D, L = len(problem.case.lstm.directions), problem.case.lstm.num_layers
    return [layer * D + d for layer in reversed(range(L)) for d in range(D)]


def _by_direction(state: Array, _partner: Array, problem: Problem) -> Array | None:
    order = _direction_order(problem)
    return None if order == sorted(order) else state[order]


def _layers_reversed(state: Array, _partner: Array, problem: Problem) -> Array | None:
    return None if problem.case.lstm.num_layers == 1 else state[_layer_order(problem)]


def _reordered_finals(expected: Expected, problem: Problem, order: Callable[[Problem], list[int]]) -> Expected:
    in_order, changed = lanes(problem.case.lstm), dict(expected)
    for kind in ("h_n", "c_n"):
        for lane, k in zip(in_order, order(problem), strict=True):
            changed[kind + lane.suffix] = expected[kind + in_order[k].suffix]
    return changed


# -- the cell ----------------------------------------------------------------------------------------------------

_PLACES = {
    "recurrent_activation": "the gates",
    "activation": "the candidate",
    "cell_activation": "the cell state's output",
}


def _set(problem: Problem, **changes: Any) -> Problem | None:
    """The problem with other settings of [lstm]; None where it has them already."""
    lstm = problem.case.lstm
    if all(getattr(lstm, name) == value for name, value in changes.items()):
        return None
    changed = msgspec.structs.replace(lstm, **changes)
    return replace(problem, case=msgspec.structs.replace(problem.case, lstm=changed, expect=None))


def _orders_and_activations() -> Iterator[Variation]:
    orders = {"i-f-exchanged": (1, 0, 2), "f-o-exchanged": (0, 2, 1), "i-o-exchanged": (2, 1, 0)}
    for name, order in orders.items():
        yield Variation(
            f"peepholes-{name}",
            f"The peepholes' rows are taken in another order: {', '.join('ifo'[k] for k in order)}.",
            "Canonical peepholes are stacked i, f, o; ONNX stacks them i, o, f.",
            partial(_peepholes, change=lambda p, order=order: p[list(order)]),
        )
    for place, words in _PLACES.items():
        for name in ACTIVATIONS:
            yield Variation(
                f"{place.replace('_', '-')}-{name}",
                f"The activation of {words} is {CURVES[name].words}.",
                f"Use the activation that the case names: {place}.",
                partial(_set, **{place: name}),
            )
    for name in ACTIVATIONS:
        yield Variation(
            f"both-activations-{name}",
            f"The activation of the candidate and of the cell state's output is {CURVES[name].words}.",
            "Use the activations that the case names: activation and cell_activation.",
            partial(_set, activation=name, cell_activation=name),
        )


def _peepholes(problem: Problem, change: Callable[[Array], Array]) -> Problem | None:
    if not problem.case.lstm.peephole:
        return None
    return _each_lane(problem, lambda weights: replace(weights, p=change(weights.p)))  # type: ignore[arg-type]


_CELLS = (
    Variation(
        "clip-left-out",
        "The cell state is not clipped.",
        "Hold the new cell state in [-cell_clip, cell_clip] before the output is made of it.",
        lambda problem: _set(problem, cell_clip=None),
    ),
    Variation(
        "coupling-left-out",
        "The forget gate is computed from weights of its own, not as 1 - i.",
        "Compute the forget gate as 1 - i.",
        lambda problem: _set(problem, input_forget=False),
    ),
    Variation(
        "gates-coupled",
        "The forget gate is 1 - i, where it has weights of its own.",
        "Compute the forget gate from its own weights.",
        lambda problem: _set(problem, input_forget=True, forget_bias=0.0),
    ),
    Variation(
        "peepholes-left-out",
        "The gates do not see the cell state.",
        "Add p_i c, p_f c with the old cell state and p_o c with the new one to the pre-activations.",
        lambda problem: _peepholes(problem, lambda p: 0 * p),
    ),
)


# -- weights -----------------------------------------------------------------------------------------------------


def _each_lane(problem: Problem, change: Callable[[Weights], Weights]) -> Problem:
    changed = iter([change(weights) for _, weights in problem.lanes()])
    return replace(problem, weights=tuple(tuple(next(changed) for _ in row) for row in problem.weights))


def _weights() -> Iterator[Variation]:
    orders = {"read-igfo": "igfo", "read-iofg": "iofg"}
    for a, b in combinations(GATES, 2):
        order = "".join({a: b, b: a}.get(gate, gate) for gate in GATES)
        if order not in orders.values():
            orders[f"exchanged-{a}-{b}"] = order
    for name, order in orders.items():
        for where, arrays in (("", "WRb"), ("-in-kernels", "WR"), ("-in-b", "b")):
            yield Variation(
                f"gates-{name}{where}",
                f"The blocks of {' and '.join(arrays)} are read in the order {', '.join(order)} in every lane.",
                "Reorder the blocks: `lockstep convert --from ... --to ...` does it for each lane.",
                partial(_each_lane, change=partial(_reordered, order=order, arrays=arrays)),
            )
    for name, factor, words in (("left-out", -1.0, "not added"), ("twice", 1.0, "added twice")):
        yield Variation(
            f"forget-bias-{name}",
            f"The forget bias is {words}, in every lane.",
            "Add the forget bias once; canonical b holds it already.",
            partial(_forget_bias, factor=factor),
        )
    yield Variation(
        "bias-left-out",
        "The bias is not added.",
        "Add b to the pre-activations of every lane.",
        partial(_each_lane, change=lambda weights: replace(weights, b=0 * weights.b)),
    )
    yield Variation(
        "bias-twice",
        "The bias is added twice.",
        "Add b once; where a framework stores two biases, their sum is b.",
        partial(_each_lane, change=lambda weights: replace(weights, b=(2 * weights.b).astype(weights.b.dtype))),
    )
    yield Variation(
        "recurrent-kernel-transposed",
        "Each gate's recurrent kernel is transposed.",
        "Transpose the recurrent kernel once where it is converted.",
        _transposed,
    )


def _reordered(weights: Weights, order: str, arrays: str) -> Weights:
    return replace(weights, **{name: reorder(getattr(weights, name), order) for name in arrays})


def _forget_bias(problem: Problem, factor: float) -> Problem | None:
    lstm = problem.case.lstm
    if not lstm.forget_bias:
        return None

    def changed(weights: Weights) -> Weights:
        return replace(weights, b=with_forget_bias(weights.b, factor * lstm.forget_bias))

    return _each_lane(problem, changed)


def _transposed(problem: Problem) -> Problem | None:
    if problem.case.lstm.proj_size or problem.case.lstm.hidden_size == 1:
        return None
    return _each_lane(
        problem,
        lambda weights: replace(weights, R=blocks(weights.R).swapaxes(1, 2).reshape(weights.R.shape)),
    )


# -- lengths -----------------------------------------------------------------------------------------------------


def _lengths() -> Iterator[Variation]:
    yield Variation(
        "lengths-ignored",
        "Lengths are ignored: padding is computed like any other timestep.",
        "Mask outputs and states past each sequence's length, and reverse within it.",
        _without_lengths,
    )


def _without_lengths(problem: Problem) -> Problem | None:
    if problem.lengths is None:
        return None
    run = msgspec.structs.replace(problem.case.run, lengths=None)
    return replace(problem, case=msgspec.structs.replace(problem.case, run=run, expect=None), lengths=None)
