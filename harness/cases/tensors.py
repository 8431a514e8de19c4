"""What a run of a case can be asked for: the tensors of each layer and direction, in order of computation.

A network is a stack of *lanes*, one for each layer and direction. A tensor of a lane is called by its kind, and in a
network of several lanes by that and the lane: ``c_l0``, ``h_l1_reverse``, ``dW_l0``. Frameworks give some tensors of
all lanes in one array; ``split`` takes them apart.

Where a bidirectional layer merges its directions into one output, that of the top layer is a tensor of its own, ``h``,
beside the ``h`` of each lane, which few implementations give. It stands in a place above all lanes.

An attention decoder is one lane, above that of its encoder where it has one. Its tensors are called by their kinds.
"""

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case

# Kinds in the order in which one timestep of one lane computes them.
PER_TIMESTEP = ("i", "f", "g", "o", "c", "h")
ATTENTION = ("scores", "attention", "context", "y", "logit")  # what a decoder's step computes after its cell
FINAL = ("c_n", "h_n")  # after the lane's last timestep
FORWARD = ("enc", *PER_TIMESTEP, *ATTENTION, *FINAL)  # enc: what an encoder gave
# The gradient of a weight by timestep, and summed over them; dx belongs to the network.
PROJECTIONS = (
    "W_target",
    "b_tilde",
    "W_tilde",
    "W_a",
    "v_a",
    "W_q",
    "W_k",
)  # of a decoder, in the order of the way back
WEIGHT_STEPS = (*(f"d{name}_t" for name in PROJECTIONS), "dp_t", "dP_t", "dW_t", "dR_t", "db_t")
WEIGHT_SUMS = (*(f"d{name}" for name in PROJECTIONS), "dp", "dP", "dW", "dR", "db")
ENCODER_SUMS = ("dW_encoder", "dR_encoder", "db_encoder")
BACKWARD = (*WEIGHT_STEPS, "denc", "dx", "dy0", "dh0", "dc0", *WEIGHT_SUMS, *ENCODER_SUMS)
KINDS = FORWARD + BACKWARD
TIMED = frozenset({"enc", *PER_TIMESTEP, *ATTENTION, *WEIGHT_STEPS, "denc", "dx"})

# A weight's gradient by timestep is compared where all of them together are no more numbers than this.
MOST_WEIGHT_STEPS = 2**21


class Lane(NamedTuple):
    """One direction of one layer."""

    layer: int
    reverse: bool

    @property
    def suffix(self) -> str:
        """What a name of this lane ends in, in a network of several."""
        return f"_l{self.layer}{'_reverse' if self.reverse else ''}"


class Tensor(NamedTuple):
    """One tensor of a case: rows over time where it is timed, else one row."""

    name: str
    kind: str
    lane: Lane
    shape: tuple[int, ...]

    @property
    def timed(self) -> bool:
        """Whether its first axis is time."""
        return self.kind in TIMED


def lanes(lstm: LSTM) -> list[Lane]:
    """The lanes of a network, layer by layer, forward before reverse."""
    return [Lane(layer, reverse) for layer in range(lstm.num_layers) for reverse in lstm.directions]


def output_of(lstm: LSTM) -> Lane:
    """The place above all lanes, in which the merged output of the top layer stands."""
    return Lane(lstm.num_layers, reverse=False)


def name_of(kind: str, lane: Lane, lstm: LSTM) -> str:
    """The name of a lane's tensor."""
    return kind if lstm.single or kind == "dx" or lane == output_of(lstm) else kind + lane.suffix


_NAME = re.compile(r"(?P<kind>[a-zA-Z0-9]+(?:_[nt])?)(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?")


def kind_of(name: str) -> str:
    """The kind of a tensor by its name."""
    # First of all: dW_target and c_n have underscores of their own.
    if name in KINDS:
        return name
    match = _NAME.fullmatch(name)
    return match["kind"] if match else name


def weight_shapes(lstm: LSTM, layer: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a lane's canonical weights: W, R, b, and P (P, H) and p (3, H) where it has them."""
    H, P, I = lstm.hidden_size, lstm.output_size, lstm.input_size_of(layer)
    shapes: dict[str, tuple[int, ...]] = {"W": (4 * H, I), "R": (4 * H, P), "b": (4 * H,)}
    if lstm.proj_size:
        shapes["P"] = (P, H)
    if lstm.peephole:
        shapes["p"] = (3, H)
    return shapes


def tensors_of(case: Case) -> dict[str, Tensor]:
    """Every tensor that a case can be asked for, by name, in order of computation."""
    if case.attention_decoder is not None:
        return _of_decoder(case, case.attention_decoder)
    T, B, I, H = case.shape
    lstm, P = case.lstm, case.lstm.output_size
    names: list[tuple[str, Lane, tuple[int, ...]]] = []
    for lane in lanes(lstm):
        names += [(kind, lane, (T, B, P if kind == "h" else H)) for kind in PER_TIMESTEP]
        names += [("c_n", lane, (B, H)), ("h_n", lane, (B, P))]
    names += [("h", output_of(lstm), (T, B, P))] if lstm.merged else []
    # The way back begins at the top layer.
    for lane in sorted(lanes(lstm), key=lambda lane: -lane.layer) if case.run.gradients else ():
        shapes = weight_shapes(lstm, lane.layer)
        wanted = [name for name in ("p", "P", "W", "R", "b") if name in shapes and (name != "b" or lstm.bias)]
        if has_weight_steps(case):
            names += [(f"d{name}_t", lane, (T, *shapes[name])) for name in wanted]
        # x belongs to no lane: it stands with the first one, which takes it in.
        names += [("dx", lane, (T, B, I))] if lane == lanes(lstm)[0] else []
        names += [("dh0", lane, (B, P)), ("dc0", lane, (B, H))]
        names += [(f"d{name}", lane, shapes[name]) for name in wanted]
    tensors = (Tensor(name_of(kind, lane, lstm), kind, lane, shape) for kind, lane, shape in names)
    return {tensor.name: tensor for tensor in tensors}


def case_weight_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shapes of all canonical weights of a case by name, as they are drawn: no two numbers are to be alike.

    Of an attention decoder the cell's W (4H, A), R (4H, H), b (4H,); W_tilde (A, E + H), which multiplies [context; h],
    b_tilde (A,), W_target (O, A); W_a (E, H) where scores are general, W_q (U, H), W_k (U, E), v_a (1, U) where they
    are additive; W_encoder (4E, I), R_encoder (4E, E), b_encoder (4E,). Where the context goes into the cell W is
    (4H, E + A), which multiplies [context; y].
    """
    decoder, lstm = case.attention_decoder, case.lstm
    if decoder is None:
        by_lane = ((lane, weight_shapes(lstm, lane.layer)) for lane in lanes(lstm))
        return {name_of(name, lane, lstm): shape for lane, shapes in by_lane for name, shape in shapes.items()}
    A, H, E, O = lstm.input_size, lstm.hidden_size, decoder.width(lstm), decoder.output_size
    shapes = weight_shapes(lstm, 0) | {"W": (4 * H, decoder.cell_input(lstm))}
    shapes |= {"W_tilde": (A, E + H), "b_tilde": (A,), "W_target": (O, A), **decoder.weight_shapes(lstm)}
    if decoder.encoder is not None:
        shapes |= {f"{name}_encoder": shape for name, shape in weight_shapes(decoder.encoder, 0).items()}
    return shapes


def _of_decoder(case: Case, decoder: AttentionDecoder) -> dict[str, Tensor]:
    """Every tensor of an attention decoder."""
    T, B, A, H = case.shape
    S, E, O = decoder.source_timesteps, decoder.width(case.lstm), decoder.output_size
    below, cell = Lane(0, reverse=False), Lane(0 if decoder.encoder is None else 1, reverse=False)
    attended, of_cell = {"scores": S, "attention": S, "context": E}, {"c": H, "h": H}
    first, second = (attended, of_cell) if decoder.context == "input" else (of_cell, attended)
    widths = {**first, **second, "y": A, "logit": O}
    tensors: list[tuple[str, Lane, tuple[int, ...]]] = []
    if decoder.encoder is not None:
        tensors.append(("enc", below, (S, B, E)))
    tensors += [(kind, cell, (T, B, width)) for kind, width in widths.items()]
    if case.run.gradients:
        without = {name for name, lstm in (("b", case.lstm), ("b_encoder", decoder.encoder)) if lstm and not lstm.bias}
        shapes = {name: shape for name, shape in case_weight_shapes(case).items() if name not in without}
        sums = [name for name in (*PROJECTIONS, "W", "R", "b") if name in shapes]
        if has_weight_steps(case):
            tensors += [(f"d{name}_t", cell, (T, *shapes[name])) for name in sums]
        tensors += [("dy0", cell, (B, A)), ("dh0", cell, (B, H)), ("dc0", cell, (B, H))]
        tensors += [(f"d{name}", cell, shapes[name]) for name in sums]
        if decoder.encoder is None:
            tensors.append(("denc", cell, (S, B, E)))
        else:
            tensors.append(("dx", below, (S, B, decoder.encoder.input_size)))
            tensors += [(f"d{name}", below, shapes[name]) for name in shapes if name.endswith("_encoder")]
    return {kind: Tensor(kind, kind, lane, shape) for kind, lane, shape in tensors}


def has_weight_steps(case: Case) -> bool:
    """Whether weights' gradients by timestep are small enough to be compared."""
    return case.run.timesteps * weight_count(case) <= MOST_WEIGHT_STEPS


def weight_count(case: Case) -> int:
    """How many numbers a case's weights are."""
    return sum(map(prod, case_weight_shapes(case).values()))


def natural_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The arrays in which frameworks give tensors of several lanes at once, by name.

    Per timestep those of the top layer, directions side by side; final and initial states of all lanes. A merged ``h``
    is not among them: it is a tensor of its own.
    """
    if case.lstm.single:
        return {}
    names = (*PER_TIMESTEP, *FINAL, *(("dh0", "dc0") if case.run.gradients else ()))
    return {name: case.natural_shape(name) for name in names if name != "h" or not case.lstm.merged}


def split(arrays: Arrays, case: Case) -> Arrays:
    """Take arrays of several lanes apart: views, by the names of ``tensors_of``, in order of computation."""
    if case.lstm.single:
        return {name: arrays[name] for name in tensors_of(case) if name in arrays}
    parts: Arrays = {}
    natural, all_lanes, count = natural_shapes(case), lanes(case.lstm), len(case.lstm.directions)
    for name, array in arrays.items():
        if name not in natural:
            parts[name] = array
        elif name in PER_TIMESTEP:
            # By timestep frameworks give the top layer alone, its directions side by side.
            width = array.shape[-1] // count
            for k, lane in enumerate(all_lanes[-count:]):
                parts[name + lane.suffix] = array[..., k * width : (k + 1) * width]
        else:
            for k, lane in enumerate(all_lanes):
                parts[name + lane.suffix] = array[k]
    return {name: parts[name] for name in tensors_of(case) if name in parts}


def merged(outputs: list[Array], lstm: LSTM) -> Array:
    """What a layer gives of the h of its directions, in their dtype."""
    if lstm.merge_mode == "concat":
        return np.concatenate(outputs, axis=-1)
    forward, reverse = outputs
    if lstm.merge_mode == "mul":
        return forward * reverse
    total = forward + reverse
    return total / total.dtype.type(2) if lstm.merge_mode == "ave" else total


_AFTER_ALL = 2**62  # beyond every timestep: the place of what has none


def place_of(kind: str, lane: Lane, row: int, timesteps: int) -> tuple[int, ...]:
    """When a row is computed, as a key to sort by; rows of one step are as their tensors are in ``tensors_of``.

    Forward: lower layers first, each from its first step to its last, the reverse direction from the last timestep.
    Backward: upper layers first, each the other way round.
    """
    backward = kind in BACKWARD
    downward = lane.reverse != backward
    step = _AFTER_ALL if kind not in TIMED else timesteps - 1 - row if downward else row
    return int(backward), -lane.layer if backward else lane.layer, step


def last_timestep(kind: str, lane: Lane, timesteps: int) -> int:
    """The timestep after which a tensor without a time axis is complete."""
    backward = kind in BACKWARD
    return 0 if lane.reverse != backward else timesteps - 1


def turned(array: Array, lengths: Array | None, rows: slice = slice(None)) -> Array:
    """Turn (T, B, n) round, each sequence within its own length; what lies past it stays where it is.

    ``rows``: which of the result are wanted.
    """
    if lengths is None:
        return array[::-1][rows]
    # A flip of the whole would put padding first.
    t, n = np.arange(len(array))[rows, None], lengths[None, :]
    return array[np.where(t < n, n - 1 - t, t), np.arange(len(lengths))]
