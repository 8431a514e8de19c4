"""The network whose weights a dump holds: found by the names of a dialect, gate by gate, or by shapes.

A dialect says what the arrays of each layer and direction are called. What no dialect names gets one of its own, by its
shapes; where these leave it open (the order of the gates, what is joined first) there are several networks, and the
outputs tell which fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.problem import Weights
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ConvertError, DumpError
from lockstep.harness.text import names_text
from lockstep.harness.weights.dialect import FLOATS, Dialect
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import gradients_of, unpack
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    StoredModel,
    canonical,
    halves_of,
    network,
)

SUFFIX = r"(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?"
# What the directions of a layer are called where each has a prefix of its own.
_BACKWARD = re.compile(r"(?<![a-z])(backward|bwd|bw|reverse)(?![a-z])")
_FORWARD = re.compile(r"(?<![a-z])(forward|fwd|fw)(?![a-z])")
UNNAMED = "an LSTM"  # the dialect of arrays that no framework's names tell, as messages call it
_MOST_NAMES = 12  # in a message


@dataclass(frozen=True)
class Layers:
    """Names of arrays by layer, then direction: a dialect's name and the file's."""

    dialect: Dialect
    names: tuple[tuple[dict[str, str], ...], ...]
    split: bool = False  # each array holds both directions, along its first axis
    state_first: bool = False  # a fused kernel multiplies [h; x]
    claimed: bool = True  # whether names say so, and not shapes alone

    @property
    def used(self) -> list[str]:
        """The file's names."""
        return list(dict.fromkeys(name for row in self.names for lane in row for name in lane.values()))


@dataclass(frozen=True)
class StoredNetwork:
    """A network, and how its arrays were read."""

    model: StoredModel
    layers: Layers
    lines: tuple[str, ...] = ()  # what was taken for what

    def gradients(self, arrays: Arrays) -> Arrays:
        """The gradients of canonical weights, from those of the file's arrays by the names of these."""
        gradients: Arrays = {}
        lstm = self.model.lstm
        several = not lstm.single
        for layer, row in enumerate(self.layers.names):
            for k, reverse in enumerate(lstm.directions):
                lane = _arrays_of(arrays, self.layers, layer, k)
                needed = {*self.layers.dialect.input_kernel, *self.layers.dialect.recurrent_kernel}
                if row and needed <= lane.keys():
                    suffix = Lane(layer, reverse).suffix if several else ""
                    try:
                        of_lane = gradients_of(lane, self.layers.dialect, bias=lstm.bias)
                    except ValueError as error:
                        raise DumpError("the gradients of weights have other shapes than these.") from error
                    gradients |= {f"{name}{suffix}": array for name, array in of_lane.items()}
        return gradients


def networks_of(arrays: Arrays, layout: str | None, prefix: str, input_size: int | None) -> list[StoredNetwork]:
    """The networks that arrays may be, the likeliest first; none where they hold no weights.

    Args:
        arrays: By name, without what is known for something else.
        layout: The dialect that the user names.
        prefix: With which the names of the weights begin.
        input_size: The width of x where it is known.

    Raises:
        DumpError: If there are weights that fit none.
    """
    below = {name: array for name, array in arrays.items() if name.startswith(prefix) and array.size and array.ndim}
    if prefix and not below:
        raise DumpError(f'no name begins with "{prefix}". There are: {names_text([*arrays], _MOST_NAMES)}')
    layers = _by_dialect(below, layout)
    if layers is not None and (layout is not None or not _anybodys(below, layers)):
        return [_network(below, layers)]
    networks, errors = [], []
    for guessed in (*(() if layout else _by_gate(below)), *_by_shape(below, layout, input_size)):
        try:
            networks.append(_network(below, guessed))
        except DumpError as error:
            errors.append(error)
    if errors and not networks and layout is None:
        raise errors[0]
    return networks


def missing_text(arrays: Arrays) -> str | None:
    """Which arrays are missing of the dialect that has the most names here, in words; None where none has any."""
    groups = [
        (names, dialect) for dialect in DIALECTS.values() for names in _lanes_of(arrays, dialect).values()
        if names.keys() & {*dialect.input_kernel, *dialect.recurrent_kernel}
    ]  # fmt: skip
    names, dialect = max(groups, key=lambda group: len(group[0]), default=({}, None))
    missing = [] if dialect is None else [name for name in dialect.required if name not in names]
    if dialect is None or not missing:
        return None
    return f"{dialect.title} has {', '.join(dialect.required)}: there is no {' and no '.join(missing)}"


# -- by the names of a dialect --------------------------------------------------------------------------------------


def _by_dialect(arrays: Arrays, layout: str | None) -> Layers | None:
    """The dialect of which the arrays have the most names, and where they stand; None where they have those of none."""
    dialects = [DIALECTS[layout]] if layout is not None else [*DIALECTS.values()]
    fitting = [(layers, dialect) for dialect in dialects if (layers := _layers_of(arrays, dialect)) is not None]
    if not fitting:
        return None
    return max(fitting, key=lambda pair: (len(pair[0].used), _shaped(arrays, pair[0])))[0]


def _anybodys(arrays: Arrays, layers: Layers) -> bool:
    """Whether names that anybody gives are those of a dialect by chance: shapes, or a bias beside them, say so."""
    if layers.dialect.name not in {"canonical", "mlx", "haiku", "onnx"}:
        return False
    used = layers.used
    biases = [name for name, array in arrays.items() if array.ndim == 1 and len(array) % 4 == 0 and name not in used]
    height = max(arrays[used[0]].shape)
    return not _shaped(arrays, layers) or any(len(arrays[name]) == height for name in biases)


def _shaped(arrays: Arrays, layers: Layers) -> bool:
    try:
        _network(arrays, layers)
    except DumpError:
        return False
    return True


def _layers_of(arrays: Arrays, dialect: Dialect) -> Layers | None:
    """Where the arrays of a dialect stand; None where no layer of it is whole."""
    parts = _lanes_of(arrays, dialect)
    lanes = {key: names for key, names in parts.items() if {*dialect.required} <= names.keys()}
    named = {key: names for key, names in lanes.items() if "lstm" in key[0].lower()}
    lanes = {key: names for key, names in (named or lanes).items() if _may_be(arrays, names, dialect)}
    if not lanes:
        return None
    suffixed = {key[0] for key in lanes if key[1] is not None}
    if suffixed:  # the layers of one module
        if len(suffixed) > 1:
            raise DumpError(_several(sorted(suffixed)))
        for (prefix, lane), names in parts.items():
            missing = [name.replace("_l0", lane.suffix) for name in dialect.required if lane and name not in names]
            if missing and prefix in suffixed:
                raise DumpError(f"{', '.join(names.values())} came without {', '.join(missing)}")
        by_lane = {key[1]: names for key, names in lanes.items() if key[1] is not None}
        return Layers(dialect, _rows(by_lane))
    first = next(iter(lanes.values()))
    split = dialect.directions_axis and arrays[first[dialect.input_kernel[0]]].shape[0] == 2  # noqa: PLR2004
    return Layers(dialect, _rows(_stacked({prefix: names for (prefix, _), names in lanes.items()})), split=split)


def _lanes_of(arrays: Arrays, dialect: Dialect) -> dict[tuple[str, Lane | None], dict[str, str]]:
    """The file's names by prefix and lane, then by the dialect's name."""
    of_lanes = dialect.name in {"torch", "candle", "paddle", "canonical"}
    wanted = [*dialect.names, *filter(None, (dialect.projection,)), *dialect.peepholes]
    patterns = [(name, _pattern(name, of_lanes=of_lanes)) for name in sorted(wanted, key=len, reverse=True)]
    lanes: dict[tuple[str, Lane | None], dict[str, str]] = {}
    for file_name in arrays:
        plain = _plain(file_name)
        name, match = next(((name, m) for name, p in patterns if (m := p.fullmatch(plain))), ("", None))
        if match is None:
            continue
        lane = None
        if of_lanes and match["layer"] is not None:
            lane = Lane(int(match["layer"]), match["reverse"] is not None)
        lanes.setdefault((match["prefix"], lane), {})[name] = file_name
    return lanes


def _plain(name: str) -> str:
    """A name as frameworks write it inside: without the number of an output, and with one mark between its parts."""
    return name.removesuffix(":0").replace("/", ".").removesuffix(".value")


def _pattern(name: str, *, of_lanes: bool) -> re.Pattern[str]:
    stem = re.escape(_plain(name).removesuffix("_l0"))
    lane = SUFFIX if of_lanes else ""
    if _plain(name).endswith("_l0"):
        lane = lane.removesuffix("?")  # nn.LSTM's names always have one
    return re.compile(rf"(?P<prefix>|.*[._]){stem}{lane}")


def _may_be(arrays: Arrays, names: Mapping[str, str], dialect: Dialect) -> bool:
    """Whether it has the four gates of an LSTM by its bias, or may have; a dense layer has a kernel and a bias too."""
    if not dialect.fused or dialect.input_kernel[1:]:
        return True
    kernel, bias = (arrays[names[name]] for name in (dialect.input_kernel[0], dialect.bias[0]))
    (*rows, gates), (*_, height) = kernel.shape, bias.shape
    return len(rows) == bias.ndim == 1 and gates == height >= len(GATES) and rows[0] > height // len(GATES)


def _rows(by_lane: Mapping[Lane, dict[str, str]]) -> tuple[tuple[dict[str, str], ...], ...]:
    """Lanes by layer, then direction."""
    layers = sorted({lane.layer for lane in by_lane})
    both = any(lane.reverse for lane in by_lane)
    missing = [
        Lane(layer, reverse)
        for layer in range(layers[-1] + 1)
        for reverse in ((False, True) if both else (False,))
        if Lane(layer, reverse) not in by_lane
    ]
    if missing:
        there = ", ".join(sorted(lane.suffix for lane in by_lane))
        raise DumpError(
            f"weights are missing: there are those of {there}, and none of "
            f"{', '.join(lane.suffix for lane in missing)}."
        )
    return tuple(
        tuple(by_lane[Lane(layer, reverse)] for reverse in ((False, True) if both else (False,))) for layer in layers
    )


def _stacked(lanes: Mapping[str, dict[str, str]]) -> dict[Lane, dict[str, str]]:
    """Lanes of which each has a prefix of its own: by the order of these, directions by what they are called."""
    by_layer: dict[str, dict[bool, dict[str, str]]] = {}
    for prefix, names in lanes.items():
        reverse = _BACKWARD.search(prefix) is not None
        layer = _FORWARD.sub("*", _BACKWARD.sub("*", prefix))
        by_layer.setdefault(layer, {})[reverse] = names
    ordered = sorted(by_layer, key=lambda layer: [int(part) if part.isdigit() else part for part in _parts(layer)])
    return {Lane(k, reverse): names for k, layer in enumerate(ordered) for reverse, names in by_layer[layer].items()}


def _parts(name: str) -> list[str]:
    """Text and numbers by turns, so that 10 comes after 9."""
    return re.split(r"(\d+)", name)


def _several(prefixes: Sequence[str]) -> str:
    return (
        f"weights of {len(prefixes)} LSTMs: {names_text(prefixes, _MOST_NAMES)}. Choose one by what the names of its "
        f"weights begin with, such as --names weights={prefixes[0]}"
    )


# -- gate by gate ---------------------------------------------------------------------------------------------------

# How the gates are called, and what the arrays of one are called: {} is the gate.
_GATE_NAMES = {
    "i": ("i", "in", "input"), "f": ("f", "forget"), "o": ("o", "out", "output"),
    "g": ("g", "c", "a", "z", "j", "cell", "cand", "candidate", "ctilde", "update", "modulation", "gate", "C"),
}  # fmt: skip
_OF_INPUT = ("W{}", "Wx{}", "Wi{}", "w{}", "wx{}", "wi{}", "Win{}", "kernel{}", "weight{}", "weightx{}", "weightih{}")
_OF_STATE = ("U{}", "R{}", "Wh{}", "V{}", "u{}", "r{}", "wh{}", "Wr{}", "recurrentkernel{}", "weighth{}", "weighthh{}")
_OF_BOTH = ("W{}", "w{}", "{}gate", "gate{}", "{}", "linear{}", "fc{}", "weight{}", "kernel{}")
_OF_BIAS = ("b{}", "bias{}", "B{}", "{}bias", "{}b")
_TWO_OF_BIAS = (("bi{}", "bh{}"), ("bx{}", "bh{}"), ("biasih{}", "biashh{}"), ("biasi{}", "biash{}"))


def _by_gate(arrays: Arrays) -> Iterator[Layers]:
    """Arrays of single gates: their names tell which gate, their shapes the rest."""
    by_prefix: dict[str, dict[str, str]] = {}
    for name in arrays:
        prefix, short = _short(name)
        by_prefix.setdefault(prefix, {})[short] = name
    found = {prefix: parts for prefix, short in by_prefix.items() if (parts := _kernels_of_gates(short)) is not None}
    if not found:
        return
    W, R, b = next(iter(found.values()))
    alike = {prefix: by_prefix[prefix] for prefix, parts in found.items() if parts == (W, R, b)}
    rows = _rows(_stacked({prefix: {name: short[name] for name in (*W, *R, *b)} for prefix, short in alike.items()}))
    first = {name: arrays[file_name] for name, file_name in rows[0][0].items()}
    for dialect, state_first in _dialects_of(first, W, R, b):
        yield Layers(dialect, rows, state_first=state_first)


def _kernels_of_gates(short: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None:
    """The names of the kernels and biases of four gates each, in the canonical order; None where there are none."""

    def of(template: str) -> tuple[str, ...]:
        names = [
            next((name for word in _GATE_NAMES[gate] if (name := template.format(word)) in short), "") for gate in GATES
        ]
        return tuple(names) if all(names) else ()

    def first_of(templates: Iterable[str]) -> str:
        return next((template for template in templates if of(template)), "")

    for ending in ("", ".weight"):
        kernel, state = (first_of(f"{name}{ending}" for name in names) for names in (_OF_INPUT, _OF_STATE))
        if not (kernel and state):
            kernel, state = first_of(f"{name}{ending}" for name in _OF_BOTH), ""
        if not kernel:
            continue
        if ending:  # of linear layers, each with its own
            biases = [of(f"{name.removesuffix(ending)}.bias") for name in (kernel, state) if name]
        else:
            two = next((pair for pair in _TWO_OF_BIAS if all(map(of, pair))), None)
            biases = [of(name) for name in two or (first_of(_OF_BIAS),) if name]
        return of(kernel), of(state) if state else (), tuple(name for names in biases for name in names)
    return None


def _short(name: str) -> tuple[str, str]:
    """A name's prefix, and the rest without marks but for the one before what a linear layer holds."""
    plain = _plain(name).replace(".kernel", ".weight")
    stem, _, last = plain.rpartition(".")
    if stem and last in {"weight", "bias"}:
        prefix, _, layer = stem.rpartition(".")
        return prefix, f"{layer.replace('_', '')}.{last}"
    return stem, last.replace("_", "")


# -- by shape -------------------------------------------------------------------------------------------------------

_LIKELY_ORDERS = ("ifgo", "ifog", "igfo", "iofg")
_ORDERS = (*_LIKELY_ORDERS, *sorted({"".join(letters) for letters in permutations(GATES)} - {*_LIKELY_ORDERS}))
# Whether a name sounds like that of a recurrent kernel.
_STATE_LIKE = re.compile(r"hh|rec|[Rr]ecurrent|[Uu]$|^[RU]|Wh|w_h|W_h|state|hid")


def _by_shape(arrays: Arrays, layout: str | None, input_size: int | None) -> Iterator[Layers]:
    """Arrays whose names say nothing: kernels of four gates and biases, whichever way they lie."""
    floats = {name: array for name, array in arrays.items() if array.dtype.name in FLOATS and array.size}
    found = next(filter(None, (_kernels_of(floats, H, input_size) for H in _hidden_sizes(floats))), None)
    if found is None:
        return
    W, R, b = found
    names = {name: name for name in (*W, *R, *b)}
    for dialect, state_first in _dialects_of(floats, W, R, b, stored=DIALECTS.get(layout or ""), orders=_ORDERS):
        yield Layers(dialect, ((names,),), state_first=state_first, claimed=layout is not None)


def _kernels_of(
    arrays: Arrays, H: int, input_size: int | None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None:
    """The names of W, R, which is none where they are fused, and of the biases; None where there is no such pair."""
    widths = {name: _inner(array, H) for name, array in arrays.items() if array.ndim == 2 and 4 * H in array.shape}  # noqa: PLR2004
    biases = tuple(name for name, array in arrays.items() if array.shape == (4 * H,))[:2]
    fused = [name for name, width in widths.items() if width > H and input_size in {None, width - H}]
    square = sorted(
        (name for name, width in widths.items() if width == H), key=lambda name: not _STATE_LIKE.search(name)
    )
    kernels = [name for name, width in widths.items() if name not in square[:1] and input_size in {None, width}]
    if square and kernels:
        return (kernels[0],), (square[0],), biases
    return ((fused[0],), (), biases) if len(fused) == 1 else None


def _hidden_sizes(arrays: Arrays) -> list[int]:
    """What H may be: by biases, then by kernels of which one side is four times the other."""
    sizes = [len(array) // 4 for array in arrays.values() if array.ndim == 1 and len(array) % 4 == 0]
    sides = [sorted(array.shape) for array in arrays.values() if array.ndim == 2]  # noqa: PLR2004
    return list(dict.fromkeys([*sizes, *(short for short, long in sides if long == 4 * short)]))


def _inner(array: Array, H: int) -> int:
    """The side of a kernel that is not that of its gates."""
    rows, columns = array.shape
    return columns if rows == 4 * H else rows


def _dialects_of(
    arrays: Arrays, W: Sequence[str], R: Sequence[str], b: Sequence[str], *, stored: Dialect | None = None,
    orders: Sequence[str] = (GATES,),
) -> Iterator[tuple[Dialect, bool]]:  # fmt: skip
    """What arrays of these names may be: transposed or not, in each order of the gates, a fused kernel of h first."""
    if not (R or b):
        return  # nothing tells how wide h is
    height = len(arrays[b[0]]) if b else max(arrays[R[0]].shape)
    transposed = [stored.transposed] if stored else _turned([arrays[names[0]] for names in (W, R) if names], height)
    constants = [stored.forget_bias] if stored else [0.0, 1.0] if b and len(orders) > 1 else [0.0]
    orders = [stored.gates] if stored else orders
    for forget_bias, turned, order, state_first in product(constants, transposed, orders, [False, True][: 2 - bool(R)]):
        dialect = Dialect(
            name=UNNAMED, title="arrays", source="", gates=order, input_kernel=tuple(W), recurrent_kernel=tuple(R),
            transposed=turned, bias=tuple(b), biases="two" if len(b) > len(W) else "one", bias_optional=True,
            forget_bias=forget_bias,
        )  # fmt: skip
        yield dialect, state_first


def _turned(kernels: Sequence[Array], height: int) -> list[bool]:
    """Whether kernels lie (in, gates): as their shapes tell, both ways where they do not."""
    for array in kernels:
        rows, columns = array.shape if array.ndim == 2 else (0, 0)  # noqa: PLR2004
        if (rows == height) != (columns == height):
            return [columns == height]
    return [False, True]


# -- read -----------------------------------------------------------------------------------------------------------


def _network(arrays: Arrays, layers: Layers) -> StoredNetwork:
    """The network of arrays that are known by name."""
    dialect, count = layers.dialect, 2 if layers.split else len(layers.names[0])
    same = _of_one_dtype(arrays, layers.used)
    try:
        pairs = [
            [_lane(_arrays_of(same, layers, layer, k), dialect) for k in range(count)]
            for layer in range(len(layers.names))
        ]
        rows = [[weights for weights, _ in row] for row in pairs]
        names = [_title(row) for row in layers.names]
        bias = any(name in dialect.bias for row in layers.names for lane in row for name in lane)
        lstm, stack = network(
            rows, "bidirectional" if count > 1 else "forward", names, bias=bias,
            forget_bias=dialect.forget_bias if bias else 0.0,
        )  # fmt: skip
    except (ConvertError, ModelError) as error:
        raise DumpError(str(error).replace("by --model-prefix ", "by --names weights=")) from error
    halves = halves_of(lstm, [biases for row in pairs for _, biases in row])
    title = dialect.title if layers.claimed and dialect.name in DIALECTS else "arrays without a framework's names"
    model = StoredModel(lstm, stack, title, gates=dialect.gates, halves=halves)
    return StoredNetwork(model, layers)


def _title(row: Sequence[Mapping[str, str]]) -> str:
    """What a layer is called: what the names of its arrays begin with."""
    name = next(iter(row[0].values()))
    return name.rpartition("/")[0] or name.rpartition(".")[0] or name


def _of_one_dtype(arrays: Arrays, names: Iterable[str]) -> Arrays:
    """Weights in the widest of their dtypes, which changes no number."""
    chosen = {name: arrays[name] for name in names}
    for name, array in chosen.items():
        if array.dtype.name not in FLOATS:
            hint = ": quantised weights are not taken, dump them in floating point" if array.dtype.kind in "iu" else ""
            raise DumpError(f"{name} is {array.dtype}{hint}.")
    widest = np.result_type(*(array.dtype for array in chosen.values()))
    return {name: array.astype(widest) for name, array in chosen.items()}


def _arrays_of(arrays: Arrays, layers: Layers, layer: int, direction: int) -> Arrays:
    """The arrays of a lane that are there, by the dialect's names."""
    row = layers.names[layer]
    names = row[0] if layers.split else row[direction]
    lane = {name: arrays[file_name] for name, file_name in names.items() if file_name in arrays}
    if layers.split:
        return {name: array[direction : direction + 1] for name, array in lane.items()}
    if layers.state_first:
        return {name: _input_first(array, layers.dialect) for name, array in lane.items()}
    return lane


def _input_first(array: Array, dialect: Dialect) -> Array:
    """A kernel of [h; x] as one of [x; h]; a bias as it is."""
    if array.ndim == 1:
        return array
    axis = 0 if dialect.transposed else 1
    H = array.shape[1 - axis] * len(dialect.input_kernel) // 4
    return np.roll(array, -H, axis)


def _lane(arrays: Arrays, dialect: Dialect) -> tuple[Weights, tuple[Array, ...]]:
    """The canonical weights of one lane, and its biases before they were summed."""
    P, p = arrays.get(dialect.projection), _peepholes(arrays, dialect)
    plain = {name: array for name, array in arrays.items() if name in dialect.names}
    if P is None:
        W, R, biases = unpack(plain, dialect)
    else:  # a recurrent kernel is as wide as the projection then
        gradients = gradients_of(arrays, dialect)
        W, R, P = gradients["dW"], gradients["dR"], gradients["dP"]
        biases = tuple(
            gradients_of({**arrays, dialect.bias[0]: arrays[name]}, dialect)["db"]
            for name in dialect.bias if name in arrays
        )  # fmt: skip
    return canonical(LaneArrays(W, R, biases, P, p), GATES, dialect.forget_bias)


def _peepholes(arrays: Arrays, dialect: Dialect) -> Array | None:
    """Peepholes (3, H), gates i, f, o."""
    there = [name for name in dialect.peepholes if name in arrays]
    if not there:
        return None
    if len(there) < len(dialect.peepholes):
        raise ModelError(f"of the peepholes {', '.join(dialect.peepholes)} there are only {', '.join(there)}.")
    rows = [arrays[name] for name in there] if len(there) > 1 else [*arrays[there[0]].reshape(3, -1)]
    return np.stack([rows[dialect.peephole_gates.index(gate)] for gate in "ifo"])
