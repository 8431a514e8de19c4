"""The forms of ports in which slips are drawn: the cases that are checked, other ones by which names are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import drawn_slips as drawn
import faulty_lstm
from decoder_cases import make_decoder
from drawn_slips import slips_of
from lstm_cases import make_case
from touchable import Slip, decoder_of_slips, port_of_slips

from lockstep.harness.cases.case import Case

Port = Callable[..., Any]


@dataclass(frozen=True)
class Form:
    """Ports of one form.

    ``fresh`` has a case for each of ``checked``, of other sizes and numbers, that has lengths where that has.
    """

    name: str
    checked: list[Case]
    fresh: list[Case]
    slips: list[Slip]

    def port(self, slips: Sequence[Slip]) -> Port:
        """A port that makes these slips."""
        if self.checked[0].attention_decoder is not None:
            return decoder_of_slips(slips)
        if slips and all(slip.kind.startswith(CATALOGUE) for slip in slips):
            return _by_pieces(slips)
        return port_of_slips(slips, self.checked[0].lstm)

    def fit(self, slips: Sequence[Slip]) -> bool:
        """Whether slips can be made together: none at the place of another, none of another implementation."""
        if len({slip.kind.startswith(CATALOGUE) for slip in slips}) > 1:
            return False
        places = [
            (place, lane) for slip in slips for place in slip.edits for lane in (slip.lanes or range(self._lanes))
        ]  # fmt: skip
        return len(set(places)) == len(places)

    @property
    def _lanes(self) -> int:
        lstm = self.checked[0].lstm
        return lstm.num_layers * len(lstm.directions)


CATALOGUE = "pieces: "  # begins the kind of a slip of tests/faulty_lstm.py


def _by_pieces(slips: Sequence[Slip]) -> Port:
    """A port of tests/faulty_lstm.py with several slips, which write different pieces."""
    name = " + ".join(slip.name for slip in slips)
    if len(slips) > 1:
        faulty_lstm.SLIPS[name] = {piece: made for slip in slips for piece, made in slip.edits.items()}
    return faulty_lstm.make_port(name)


def _of_catalogue() -> list[Slip]:
    """The slips of tests/faulty_lstm.py, by family; what two biases are needed for is left out."""
    families = {
        "gate order": faulty_lstm._gate_order, "weights": faulty_lstm._kernel, "bias": faulty_lstm._bias,
        "forget bias": faulty_lstm._forget_bias, "curves": faulty_lstm._activation, "cell": faulty_lstm._cell,
        "states": faulty_lstm._state, "initial": faulty_lstm._initial_state, "time": faulty_lstm._time,
        "batch and features": faulty_lstm._batch, "returned": faulty_lstm._returned, "lengths": faulty_lstm._padding,
        "clip": faulty_lstm._clip, "precision": faulty_lstm._precision, "scale": faulty_lstm._scale,
    }  # fmt: skip
    return [
        Slip(name, CATALOGUE + family, pieces)
        for family, made in families.items()
        for name, pieces in made()
        if "-of-two-" not in name and "every-16" not in name
    ]


SIZES = [
    {"timesteps": 7, "batch": 3, "input_size": 4, "hidden_size": 5},
    {"timesteps": 5, "batch": 4, "input_size": 3, "hidden_size": 6},
    {"timesteps": 6, "batch": 4, "input_size": 5, "hidden_size": 3, "lengths": (4, 6, 2, 5)},
]
OTHER_SIZES = [
    {"timesteps": 6, "batch": 5, "input_size": 3, "hidden_size": 4},
    {"timesteps": 8, "batch": 2, "input_size": 5, "hidden_size": 3},
    {"timesteps": 8, "batch": 5, "input_size": 2, "hidden_size": 4, "lengths": (3, 7, 8, 1, 5)},
]


def _cases(sizes: list[dict[str, Any]], first_seed: int, **settings: Any) -> list[Case]:
    return [
        make_case(f"case-{first_seed + k}", seed=first_seed + k, initial_state="probe", **size, **settings)
        for k, size in enumerate(sizes)
    ]


def _network(name: str, slips: list[Slip], number: int, *, count: int = 3, **settings: Any) -> Form:
    checked = _cases(SIZES[:count], 100 * number, **settings)
    fresh = _cases(OTHER_SIZES[:count], 9000 + 100 * number, **settings)
    return Form(name, checked, fresh, slips)


def _of_lanes(count: int, families: Callable[[], list[Any]]) -> list[Slip]:
    """The slips of families in each single lane, and in all."""
    scopes = [frozenset({lane}) for lane in range(count)]
    slips = [
        Slip(f"{slip.name} in lane {min(scope)}", slip.kind, slip.edits, scope)
        for scope in scopes
        for slip in slips_of(*families(), lanes=scope)
    ]
    return slips + slips_of(*families())


def _lane_families() -> list[Any]:
    of_steps = [drawn.curves(), drawn.operands(), drawn.states()]
    of_some = drawn.in_some_steps(drawn.curves(), drawn.operands(), drawn.states())
    return [drawn.weights(), drawn.starts(), drawn.sequences("x", "x"), *of_steps, of_some]


def _whole() -> list[Any]:
    return [drawn.initial(), drawn.lengths(), drawn.padding(), drawn.sequences("h_seq", "h_seq")]


def _decoders(name: str, slips: list[Slip], number: int, **settings: Any) -> Form:
    sizes = [
        {"input_size": 4, "hidden_size": 5, "output_size": 2},
        {"input_size": 3, "hidden_size": 4, "batch": 4, "timesteps": 5, "lengths": (3, 5, 2, 4)},
    ]
    other_sizes = [
        {"input_size": 3, "hidden_size": 6, "batch": 2, "timesteps": 5},
        {"input_size": 5, "hidden_size": 3, "batch": 5, "source_timesteps": 6, "lengths": (6, 3, 2, 4, 5)},
    ]
    checked, fresh = (
        [
            make_decoder(f"case-{seed + k}", seed=seed + k, **size, **settings, **_source(settings, size))
            for k, size in enumerate(all_sizes)
        ]
        for seed, all_sizes in ((100 * number, sizes), (9000 + 100 * number, other_sizes))
    )
    return Form(name, checked, fresh, slips)


def _source(settings: dict[str, Any], size: dict[str, Any]) -> dict[str, Any]:
    return {"source_size": size["input_size"]} if settings.get("score") == "general" else {}


def _cell(name: str, number: int, *, peephole: bool = False, clip: bool = False, projection: bool = False) -> Form:
    settings: dict[str, Any] = {"peephole": peephole, "proj_size": 2 if projection else 0}
    settings["cell_clip"] = 0.4 if clip else None
    extras = drawn.cell_extras(peephole=peephole, clip=clip, projection=projection)
    families = [extras, drawn.weights(), drawn.curves(), drawn.operands()]
    slips = [slip for slip in slips_of(*families) if not (projection and _as_wide_as_c(slip))]
    return _network(name, slips, number, count=2, **settings)


def _as_wide_as_c(slip: Slip) -> bool:
    """Whether a slip takes h for c, which a projection makes narrower, or turns R, which is square no more."""
    return "h in" in slip.name or slip.name == "R transposed"


def forms() -> list[Form]:
    """All forms."""
    two, four = range(2), range(4)
    directional = [drawn.directions, drawn.lanes_of_states]
    attention = [drawn.attention(), drawn.weights(), drawn.curves(), drawn.operands(), drawn.lengths(), drawn.starts()]
    carried = [family for family in slips_of(drawn.states()) if "Rh" not in family.name]
    decoder = [*slips_of(*attention), *carried]
    return [
        _network("plain", [*_of_catalogue(), *slips_of(*_lane_families(), *_whole())], 1),
        _network(
            "two ways",
            [*_of_lanes(len(two), _lane_families), *slips_of(*_whole(), *(made() for made in directional))],
            2, direction="bidirectional",
        ),
        _network(
            "stacked",
            [*_of_lanes(len(two), _lane_families), *slips_of(*_whole(), drawn.layers(), drawn.lanes_of_states())],
            3, num_layers=2,
        ),
        _network(
            "stacked two ways",
            [
                *_of_lanes(len(four), _lane_families),
                *slips_of(*_whole(), drawn.layers(), *(made() for made in directional)),
            ],
            4, num_layers=2, direction="bidirectional",
        ),
        _network("gradients", slips_of(drawn.way_back()), 5, count=2, gradients=True),
        _network("gradients of a stack", _of_lanes(2, _way_back_of_lanes), 6, count=2, gradients=True, num_layers=2),
        _decoders("decoder", decoder, 7),
        _decoders("decoder, general", [*decoder, *slips_of(drawn.general())], 8, score="general"),
        _cell("peepholes", 9, peephole=True),
        _cell("clip", 10, clip=True),
        _cell("projection", 11, projection=True),
        _cell("peepholes, clip, projection", 12, peephole=True, clip=True, projection=True),
    ]  # fmt: skip


def _way_back_of_lanes() -> list[Any]:
    """What goes back in one lane: what is of all of them, as dx, is left out."""
    whole = ("dx", "dh0", "dc0", "dc lost", "dh of")
    return [(found for found in drawn.way_back() if not found[0].startswith(whole))]
