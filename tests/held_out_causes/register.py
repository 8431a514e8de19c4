"""What a port of the held-out set is: a function, what is wrong with it, and the words of a right answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from decoder_cases import make_decoder
from lstm_cases import make_case

from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.weights.arranged import by_lane
from lockstep.harness.weights.dialects import DIALECTS

Alternatives = Sequence[str]

_SQUARE = {"timesteps": 4, "batch": 4, "input_size": 4, "hidden_size": 4}


def _lstm(name: str, **settings: Any) -> Case:
    sizes = {"timesteps": 7, "batch": 3, "input_size": 4, "hidden_size": 5, "initial_state": "probe"}
    return make_case(name, **(sizes | settings))


# Small cases of each form, of other sizes and numbers; those a port cannot run are reported as unsupported.
CASES: dict[str, list[Case]] = {
    "plain": [
        _lstm("plain-a", seed=811),
        _lstm("plain-b", seed=812, timesteps=9, batch=2, input_size=3, hidden_size=6),
        _lstm("plain-lengths", seed=813, batch=4, lengths=(5, 7, 2, 6)),
    ],
    "plain lengths": [
        _lstm("plain-lengths", seed=813, batch=4, lengths=(5, 7, 2, 6)),
        _lstm("plain-lengths-b", seed=885, timesteps=9, hidden_size=6, lengths=(9, 3, 8)),
    ],
    "plain square": [_lstm("plain-a", seed=811), _lstm("plain-square", seed=814, **_SQUARE)],
    "two ways": [
        _lstm("two-a", seed=821, direction="bidirectional"),
        _lstm("two-b", seed=822, direction="bidirectional", timesteps=5, batch=4, hidden_size=3),
        _lstm("two-lengths", seed=823, direction="bidirectional", batch=4, lengths=(5, 7, 2, 6)),
    ],
    "two ways lengths": [
        _lstm("two-lengths", seed=823, direction="bidirectional", batch=4, lengths=(5, 7, 2, 6)),
        _lstm("two-lengths-b", seed=886, direction="bidirectional", timesteps=5, hidden_size=3, lengths=(4, 5, 2)),
    ],
    "reverse": [
        _lstm("reverse-a", seed=824, direction="reverse"),
        _lstm("reverse-b", seed=825, direction="reverse", timesteps=5, batch=4, hidden_size=3),
    ],
    "stacked": [
        _lstm("stack-a", seed=831, num_layers=2),
        _lstm("stack-b", seed=832, num_layers=3, timesteps=5, batch=2, input_size=6, hidden_size=3),
    ],
    "stacked alike": [
        _lstm("alike-a", seed=833, num_layers=2, input_size=5),
        _lstm("alike-b", seed=834, num_layers=3, timesteps=5, batch=2, input_size=3, hidden_size=3),
    ],
    "stacked square": [
        _lstm("stack-a", seed=831, num_layers=2),
        _lstm("stack-square", seed=835, num_layers=2, **_SQUARE),
    ],
    "stacked two ways": [
        _lstm("both-a", seed=836, num_layers=2, direction="bidirectional"),
        _lstm("both-b", seed=837, num_layers=3, direction="bidirectional", timesteps=5, batch=2, hidden_size=3),
        _lstm("both-lengths", seed=838, num_layers=2, direction="bidirectional", batch=4, lengths=(5, 7, 2, 6)),
    ],
    "stacked two ways alike": [
        _lstm("both-alike-a", seed=839, num_layers=2, direction="bidirectional", input_size=10),
        _lstm("both-alike-b", seed=840, num_layers=3, direction="bidirectional", input_size=6, hidden_size=3),
    ],
    "two ways projection": [
        _lstm("two-proj-a", seed=894, direction="bidirectional", proj_size=3),
        _lstm("two-proj-b", seed=895, direction="bidirectional", proj_size=2, timesteps=5, batch=2, hidden_size=4),
    ],
    "stacked projection": [
        _lstm("stack-proj-a", seed=896, num_layers=2, proj_size=3),
        _lstm("stack-proj-b", seed=897, num_layers=3, proj_size=2, timesteps=5, batch=2, hidden_size=4),
    ],
    "stacked lengths": [
        _lstm("stack-a", seed=831, num_layers=2),
        _lstm("stack-lengths", seed=881, num_layers=3, batch=4, lengths=(5, 7, 2, 6)),
    ],
    "gradients": [
        _lstm("back-a", seed=841, gradients=True),
        _lstm("back-b", seed=842, gradients=True, timesteps=5, batch=4, input_size=6, hidden_size=3),
    ],
    "gradients lengths": [
        _lstm("back-a", seed=841, gradients=True),
        _lstm("back-lengths", seed=882, gradients=True, batch=4, lengths=(5, 7, 2, 6)),
    ],
    "gradients with peepholes": [
        _lstm("back-peep-a", seed=843, gradients=True, peephole=True),
        _lstm("back-peep-b", seed=844, gradients=True, peephole=True, timesteps=5, batch=4, hidden_size=3),
    ],
    "decoder": [
        make_decoder("decoder-a", seed=851, hidden_size=5, input_size=4, output_size=2),
        make_decoder("decoder-b", seed=852, batch=2, hidden_size=3, timesteps=6, source_timesteps=4),
    ],
    "decoder lengths": [
        make_decoder("decoder-a", seed=851, hidden_size=5, input_size=4, output_size=2),
        make_decoder("decoder-lengths", seed=853, batch=4, hidden_size=3, lengths=(3, 5, 1, 4)),
    ],
    "decoder both lengths": [
        make_decoder("decoder-lengths", seed=853, batch=4, hidden_size=3, lengths=(3, 5, 1, 4)),
        make_decoder("decoder-lengths-b", seed=887, hidden_size=5, output_size=2, lengths=(2, 4, 3)),
    ],
    "decoder general": [
        make_decoder("general-a", seed=854, score="general", source_size=3, hidden_size=5),
        make_decoder("general-square", seed=855, score="general", source_size=4, hidden_size=4, timesteps=5),
    ],
    "decoder general square": [
        make_decoder("general-square", seed=855, score="general", source_size=4, hidden_size=4, timesteps=5),
        make_decoder("general-square-b", seed=858, score="general", source_size=6, hidden_size=6, batch=2),
    ],
    "decoder two outputs": [
        make_decoder("decoder-a", seed=851, hidden_size=5, input_size=4, output_size=2),
        make_decoder("decoder-three-outputs", seed=859, batch=2, hidden_size=3, timesteps=6, output_size=3),
    ],
    "decoder alike": [
        make_decoder("alike-a", seed=856, input_size=4, hidden_size=4),
        make_decoder("alike-b", seed=857, input_size=6, hidden_size=6, batch=2, timesteps=5),
    ],
    "peepholes": [
        _lstm("peep-a", seed=861, peephole=True),
        _lstm("peep-b", seed=862, peephole=True, timesteps=9, batch=2, hidden_size=3),
    ],
    "clip": [
        _lstm("clip-a", seed=863, cell_clip=0.3),
        _lstm("clip-b", seed=864, cell_clip=0.5, timesteps=9, batch=2, hidden_size=3),
    ],
    "projection": [
        _lstm("proj-a", seed=865, proj_size=3),
        _lstm("proj-b", seed=866, proj_size=2, timesteps=9, batch=2, hidden_size=4),
    ],
    "projection square": [
        _lstm("proj-square-a", seed=871, proj_size=4, hidden_size=4),
        _lstm("proj-square-b", seed=872, proj_size=3, hidden_size=3, timesteps=9, batch=2),
    ],
    "projection alike": [
        _lstm("proj-alike-a", seed=883, proj_size=3, input_size=3),
        _lstm("proj-alike-b", seed=884, proj_size=2, input_size=2, timesteps=9, batch=2, hidden_size=4),
    ],
    "peepholes and clip": [
        _lstm("peep-clip-a", seed=873, peephole=True, cell_clip=0.3),
        _lstm("peep-clip-b", seed=874, peephole=True, cell_clip=0.5, timesteps=9, batch=2, hidden_size=3),
    ],
    "projection and clip": [
        _lstm("proj-clip-a", seed=867, proj_size=3, cell_clip=0.4),
        _lstm("proj-clip-b", seed=868, proj_size=2, cell_clip=0.5, timesteps=9, batch=2, hidden_size=4),
    ],
    "projection and peepholes": [
        _lstm("proj-peep-a", seed=869, proj_size=3, peephole=True),
        _lstm("proj-peep-b", seed=870, proj_size=2, peephole=True, timesteps=9, batch=2, hidden_size=4),
    ],
    "coupled": [
        _lstm("coupled-a", seed=888, input_forget=True, forget_bias=0.0),
        _lstm("coupled-b", seed=889, input_forget=True, forget_bias=0.0, timesteps=9, batch=2, hidden_size=3),
    ],
    "hard sigmoid": [
        _lstm("hard-a", seed=890, recurrent_activation="hard_sigmoid_0.2"),
        _lstm("hard-b", seed=891, recurrent_activation="hard_sigmoid_0.2", timesteps=9, batch=2, hidden_size=3),
    ],
    "relu cell": [
        _lstm("relu-a", seed=892, activation="relu", cell_activation="relu"),
        _lstm("relu-b", seed=893, activation="relu", cell_activation="relu", timesteps=5, batch=2, hidden_size=3),
    ],
}


@dataclass(frozen=True)
class HeldOut:
    """A port with one real mistake, or two.

    ``judge`` has one list for each mistake: of the words in it (regular expressions) one must stand in the message or
    in the name of the fault.
    """

    port: Callable[..., Any]
    form: str
    cases: str
    wrong: str
    judge: Sequence[Alternatives]
    source: str
    layout: str

    @property
    def name(self) -> str:
        """That of the function."""
        return self.port.__name__

    @property
    def part(self) -> int:
        """Of the set: 1 is what was written first; 2 what was written when others had looked at 1; 3 after 2."""
        return {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7}.get(
            self.port.__module__.partition("_")[0], 1
        )

    def told(self, diagnosis: Diagnosis) -> bool:
        """Whether an explanation names every mistake, in whatever words."""
        text = f"{diagnosis.message} [{diagnosis.fault}]"
        return diagnosis.sigma is not None and all(
            any(re.search(word, text, re.IGNORECASE) for word in alternatives) for alternatives in self.judge
        )


HELD_OUT: list[HeldOut] = []


def _of_lanes(port: Callable[..., Any], form: str, layout: str) -> Callable[..., Any]:
    """The port of a network as it was written: for weights that are a list over layers of a list over directions."""
    if layout == "canonical" or not form.startswith(("two ways", "stacked")):
        return port

    @functools.wraps(port)
    def wrapped(x: Any, weights: Any, h0: Any, *arguments: Any, **options: Any) -> Any:
        directions = 2 if form.startswith("two ways") else 1
        lstm = LSTM(
            input_size=1, hidden_size=1, num_layers=len(h0) // directions,
            direction="bidirectional" if directions > 1 else "forward",
        )  # fmt: skip
        return port(x, by_lane(weights, DIALECTS[layout], lstm), h0, *arguments, **options)

    return wrapped


def held_out(
    form: str, wrong: str, *judge: Alternatives, source: str, cases: str = "", layout: str = "canonical"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Take a port into the set."""

    def take(port: Callable[..., Any]) -> Callable[..., Any]:
        HELD_OUT.append(HeldOut(_of_lanes(port, form, layout), form, cases or form, wrong, judge, source, layout))
        return port

    return take
