"""The arrays of a whole network in one file: which lane each is of, and how it is called there.

``torch``, ``candle``, ``paddle`` and ``canonical`` have names of their own for layers and directions, TF1 has scopes,
and an ONNX node has both directions in one array. In the other dialects a name begins with its lane:
``layer_1.reverse.kernel``, without the layer where there is one, without the direction where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ConvertError
from lockstep.harness.weights.arranged import FIRST_LANE, arranged, of_lane
from lockstep.harness.weights.dialect import Dialect

_SUFFIX = re.compile(r"(?P<stem>.+)_l(?P<layer>\d+)(?P<reverse>_reverse)?")
_PREFIX = re.compile(r"(layer_(?P<layer>\d+)\.)?((?P<direction>forward|reverse)\.)?(?P<name>.+)")
_SCOPE_PARTS = {
    "layer": re.compile(r"cell_?(\d+)", re.IGNORECASE),  # MultiRNNCell, and its spelling before TF 1.0
    "direction": re.compile(r"fw|bw", re.IGNORECASE),
}


def lane_of_scope(scope: str) -> tuple[str, Lane]:
    """Which lane a TF1 cell is by its variable scope, and what is alike in the scopes of one network.

    ``rnn/multi_rnn_cell/cell_1/lstm_cell`` is layer 1, ``bidirectional_rnn/bw/lstm_cell`` the reverse direction.
    """
    parts, layer, reverse = [], 0, False
    for part in scope.split("/"):
        if match := _SCOPE_PARTS["layer"].fullmatch(part):
            layer = int(match[1])
            parts.append("cell_*")
        elif _SCOPE_PARTS["direction"].fullmatch(part):
            reverse = part.lower() == "bw"
            parts.append("*")
        else:
            parts.append(part)
    return "/".join(parts), Lane(layer, reverse)


def arrays_by_lane(arrays: Arrays, dialect: Dialect) -> tuple[dict[Lane, Arrays], list[str]]:
    """The arrays of each lane under the names of the first one, and the names of arrays that are of none.

    A ConvertError tells of several networks.
    """
    names = {*dialect.names, *dialect.peepholes, *filter(None, (dialect.projection,))}
    if names & arrays.keys() and not _has_lane_names(dialect):
        lanes = {Lane(0, reverse=False): arrays}
    elif dialect.name == "tf1":
        lanes = _by_scope(arrays, names)
    else:
        lanes = {}
        for name, array in arrays.items():
            lane, stem = _lane_and_name(name, dialect)
            if stem in names:
                lanes.setdefault(lane, {})[stem] = array
    lanes = _split_directions(lanes, dialect) if dialect.directions_axis else lanes
    if len(lanes) <= 1 and all(stored.keys() <= arrays.keys() for stored in lanes.values()):
        return {
            next(iter(lanes), Lane(0, reverse=False)): arrays
        }, []  # what is missing or strange is told by conversion
    if dialect.directions_axis:
        return lanes, []
    taken = {id(array) for stored in lanes.values() for array in stored.values()}
    return lanes, [name for name, array in arrays.items() if id(array) not in taken]


def network_arrays(lanes: Mapping[Lane, Arrays], dialect: Dialect) -> Arrays:
    """Turn round what ``arrays_by_lane`` gave: the arrays of all lanes in one dict."""
    directions = sorted({lane.reverse for lane in lanes})
    layers = 1 + max(lane.layer for lane in lanes)
    if len(lanes) == 1:
        return next(iter(lanes.values()))
    if dialect.directions_axis:
        return {
            f"{f'layer_{layer}.' if layers > 1 else ''}{name}": np.concatenate(
                [lanes[Lane(layer, reverse)][name] for reverse in directions]
            )
            for layer in range(layers)
            for name in lanes[Lane(layer, directions[0])]
        }
    if dialect.name in {"tf1", "canonical"} or dialect.input_kernel[0].endswith(FIRST_LANE):
        lstm = LSTM(
            input_size=1,
            hidden_size=1,
            num_layers=layers,
            direction="bidirectional" if len(directions) > 1 else "forward",
        )
        rows = [[lanes[Lane(layer, reverse)] for reverse in directions] for layer in range(layers)]
        if dialect.name == "canonical":
            return {name + lane.suffix: array for lane, stored in lanes.items() for name, array in stored.items()}
        whole = arranged(rows, dialect, lstm)
        assert isinstance(whole, dict)
        return whole
    return {
        f"{f'layer_{lane.layer}.' if layers > 1 else ''}"
        f"{('reverse.' if lane.reverse else 'forward.') if len(directions) > 1 else ''}{name}": array
        for lane, stored in lanes.items()
        for name, array in stored.items()
    }


def chosen_lanes(lanes: dict[Lane, Arrays], layer: int | None, *, reverse: bool) -> dict[Lane, Arrays]:
    """All lanes, or the one that is asked for; a ConvertError if it, or one of all, is not there."""
    if layer is None and not reverse:
        _check_whole(lanes)
        return lanes
    layers = {lane.layer for lane in lanes}
    if layer is None and len(layers) > 1:
        raise ConvertError(f"--reverse of which of its {len(layers)} layers? Add --layer, 0 to {max(layers)}.")
    wanted = Lane(layer or 0, reverse)
    if wanted not in lanes:
        raise ConvertError(f"it has no {lane_text(wanted)}. It has: {'; '.join(map(lane_text, sorted(lanes)))}.")
    return {wanted: lanes[wanted]}


def lane_text(lane: Lane) -> str:
    """A lane in words."""
    return f"layer {lane.layer}{', reverse' if lane.reverse else ''}"


def _has_lane_names(dialect: Dialect) -> bool:
    return dialect.name in {"tf1", "canonical"} or dialect.input_kernel[0].endswith(FIRST_LANE)


def _lane_and_name(name: str, dialect: Dialect) -> tuple[Lane, str]:
    """Which lane an array is of, and its name in the first one."""
    if _has_lane_names(dialect):
        match = _SUFFIX.fullmatch(name)
        if match is None:
            return Lane(0, reverse=False), name
        stem = match["stem"] if dialect.name == "canonical" else of_lane(match["stem"] + FIRST_LANE, FIRST_LANE)
        return Lane(int(match["layer"]), match["reverse"] is not None), stem
    match = _PREFIX.fullmatch(name)
    assert match is not None  # all of its parts but the last may be empty
    return Lane(int(match["layer"] or 0), match["direction"] == "reverse"), match["name"]


def _by_scope(arrays: Arrays, names: Iterable[str]) -> dict[Lane, Arrays]:
    networks: dict[str, dict[Lane, Arrays]] = {}
    for name, array in arrays.items():
        ending = next((each for each in names if name == each or name.endswith(f"/{each}")), None)
        if ending is None:
            continue
        network, lane = lane_of_scope(name.removesuffix(ending).removesuffix("/"))
        networks.setdefault(network, {}).setdefault(lane, {})[ending] = array
    kernels = {
        network: lanes for network, lanes in networks.items() if any("kernel" in lane for lane in lanes.values())
    }
    if len(kernels) > 1:
        raise ConvertError(f"it has {len(kernels)} cells or networks: {', '.join(kernels)}. Choose one by --prefix.")
    return next(iter(kernels.values()), {})


def _split_directions(lanes: dict[Lane, Arrays], dialect: Dialect) -> dict[Lane, Arrays]:
    """Take apart arrays that hold both directions."""
    first, split = dialect.input_kernel[0], dict[Lane, Arrays]()
    for lane, stored in lanes.items():
        both = first in stored and stored[first].ndim > 2 and len(stored[first]) == 2  # noqa: PLR2004
        for k in range(2 if both else 1):
            cut = {
                name: array[k : k + 1] if both and name in dialect.names else array for name, array in stored.items()
            }
            split[Lane(lane.layer, bool(k))] = cut
    return split


def _check_whole(lanes: Mapping[Lane, Arrays]) -> None:
    directions = sorted({lane.reverse for lane in lanes})
    layers: Sequence[int] = range(1 + max((lane.layer for lane in lanes), default=0))
    missing = [
        lane_text(Lane(layer, reverse))
        for layer in layers
        for reverse in directions
        if Lane(layer, reverse) not in lanes
    ]
    if missing:
        raise ConvertError(
            f"of its {len(layers)} layers {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. "
            f"It has: {'; '.join(map(lane_text, sorted(lanes)))}."
        )
