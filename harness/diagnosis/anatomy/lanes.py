"""The anatomy of a network, lane by lane; and what was measured in its lanes as the base on which a search goes on.

A lane that is measured is explained as a plain layer is. Its deviations are put together with those of the other
lanes, in the widest scopes in which they were seen, and the whole network is held against that: alone, or with
one more deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import msgspec
from msgspec import Struct

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.cases.tensors import Lane, lanes
from lockstep.harness.causes.network_run import label_of
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy, anatomy, measured_bases, prove
from lockstep.harness.diagnosis.anatomy.conventions import names_of
from lockstep.harness.diagnosis.anatomy.decoder_box import CellBlackBox
from lockstep.harness.diagnosis.anatomy.lane_box import LaneBlackBox, measurable
from lockstep.harness.diagnosis.anatomy.table import covered
from lockstep.harness.diagnosis.clock import Clock
from lockstep.harness.diagnosis.explain_causes import Search
from lockstep.harness.diagnosis.named_causes import JOIN, Found
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.seen import Cause, Seen
from lockstep.harness.faults.deviation import scopes_of
from lockstep.harness.faults.table import find
from lockstep.harness.reference.noise import LIMIT_SIGMA

MOST_TOGETHER = 64  # ways to put the deviations of lanes together
MOST_LANE_READINGS = 4  # of a lane that nothing explains, each as a base
FRESH_RUNS = (
    {"timesteps": 5, "batch": 3, "seed": 51}, {"timesteps": 6, "batch": 3, "lengths": (4, 6, 2), "seed": 52},
)  # fmt: skip
DECODER_CELL = "decoder"  # the label that causes have for a decoder
FRESH_SIZES = ((4, 5), (4, 4))


class LaneAnatomy(Struct, frozen=True):
    """What was measured in one lane."""

    lane: str  # as causes name it: the layer, and r where it goes backward in time
    place: str  # in words
    anatomy: Anatomy | None
    left_out: str = ""  # why it was not measured


class NetworkAnatomy(Struct, frozen=True):
    """The conventions of a network: of each lane, and what explains all of it."""

    subject: str
    form: str
    lanes: list[LaneAnatomy]
    explanation: Diagnosis | None  # the deviations of all lanes and between them; None if there are none, or no proof
    proved: bool
    sigma: float | None
    calls: int


AskTensors = Callable[[list[Any]], list[Arrays | None]]  # problems of a network or of a decoder; tensors by lane
Measured = Mapping[str, Sequence[str]]  # names of deviations of a plain layer, by the label of the lane they are of


@dataclass(frozen=True)
class MeasuredNetwork:
    """What is measured: the form, and who answers for it."""

    ask: AskTensors
    lstm: LSTM
    name: str
    layout: str = "canonical"
    decoder: AttentionDecoder | None = None  # around it, which is then its cell

    def box(self, label: str) -> LaneBlackBox | CellBlackBox:
        """One lane of it, or the cell of a decoder, by the label that causes have for it."""
        options = {"name": self.name, "layout": self.layout}
        if self.decoder is not None:
            return CellBlackBox(self.ask, self.decoder, **options)  # type: ignore[arg-type]
        lane = next(lane for lane in lanes(self.lstm) if label_of(lane) == label)
        return LaneBlackBox(self.ask, self.lstm, lane, **options)  # type: ignore[arg-type]

    @property
    def places(self) -> dict[str, str]:
        """Its lanes in words, by label."""
        if self.decoder is not None:
            return {DECODER_CELL: "the cell"}
        return {label_of(lane): place_of(lane, self.lstm) for lane in lanes(self.lstm)}

    @property
    def form(self) -> str:
        """Its form in words."""
        if self.decoder is not None:
            where = ", the context into the cell" if self.decoder.context == "input" else ""
            return f"an attention decoder, {self.decoder.score} scores{where}"
        return form_words(self.lstm)

    @property
    def fresh_cases(self) -> Iterator[Case]:
        """Cases of the form by which it is proved as a whole, small and of different sizes."""
        for input_size, hidden_size in FRESH_SIZES:
            for fresh in FRESH_RUNS:
                lstm = msgspec.structs.replace(
                    self.lstm, input_size=input_size, hidden_size=hidden_size,
                    proj_size=hidden_size - 2 if self.lstm.proj_size else 0,
                )  # fmt: skip
                decoder = self.decoder and AttentionDecoder(
                    source_timesteps=6, source_size=hidden_size, score=self.decoder.score,
                    context=self.decoder.context, output_size=3,
                )  # fmt: skip
                run = Run(**{**fresh, "initial_state": "probe"})  # type: ignore[arg-type]
                yield Case(lstm=lstm, run=run, attention_decoder=decoder)


def network_anatomy(network: MeasuredNetwork) -> NetworkAnatomy:
    """Measure each lane, put together what they deviate in, and prove it on fresh problems of the whole."""
    measured, names, calls = [], {}, 0
    for label, place in network.places.items():
        box = network.box(label)
        refusal = box.refusal
        of_lane = None if refusal else anatomy(box)
        measured.append(LaneAnatomy(label, place, of_lane, refusal))
        calls += box.calls
        if of_lane is not None and of_lane.proved:
            names[label] = of_lane.explanation.fault.split(JOIN) if of_lane.explanation else []
    proved, explanation, asked = _proved(network, names)
    sigma = None if proved is None else proved.sigma
    if sigma is not None:
        measured = [_covered(of_lane, sigma) for of_lane in measured]
    return NetworkAnatomy(network.name, network.form, measured, explanation, proved is not None, sigma, calls + asked)


def _covered(measured: LaneAnatomy, sigma: float) -> LaneAnatomy:
    of_lane = measured.anatomy
    if of_lane is None:
        return measured
    rows = [covered(row, sigma) for row in of_lane.conventions]
    return msgspec.structs.replace(measured, anatomy=msgspec.structs.replace(of_lane, conventions=rows))


def place_of(lane: Lane, lstm: LSTM) -> str:
    """A lane in words."""
    direction = ", backward in time" if lane.reverse else ", forward in time" if len(lstm.directions) > 1 else ""
    return f"layer {lane.layer} (counted from 0){direction}"


def form_words(lstm: LSTM) -> str:
    """A form in words."""
    layers = "one layer" if lstm.num_layers == 1 else f"{lstm.num_layers} layers"
    more = [
        word for word, there in (
            ("projection", lstm.proj_size), ("peepholes", lstm.peephole), ("a clip of c", lstm.cell_clip is not None),
        ) if there
    ]  # fmt: skip
    return f"{layers}, {lstm.direction}" + (f", with {' and '.join(more)}" if more else "")


# -- the whole network -------------------------------------------------------------------------------------------


def _proved(network: MeasuredNetwork, names: Measured) -> tuple[Found | None, Diagnosis | None, int]:
    """What explains fresh problems of the network, held against others; and the number of calls."""
    observations, held = (_observed(network, seed) for seed in (0, 1000))
    calls = 2 * len(FRESH_RUNS) * len(FRESH_SIZES)
    if not observations or not held:
        return None, None, calls
    search = Search.of(observations, LIMIT_SIGMA, layout=network.layout)
    if search is None:
        sigma = max(Seen.of(observation).distance for observation in (*observations, *held))
        return (Found((), sigma) if sigma <= LIMIT_SIGMA else None), None, calls
    causes = upon_measured(search, names) or search.causes(several=False)
    for explaining, diagnosis in zip(causes, search.told(causes), strict=True):
        sigma = max(Seen.of(observation).sigma(explaining.cause) for observation in held)
        if sigma <= LIMIT_SIGMA:
            return Found(explaining.cause, sigma), diagnosis, calls
    return None, None, calls


def _observed(network: MeasuredNetwork, seed: int) -> list[Observation]:
    problems = []
    for case in network.fresh_cases:
        run = msgspec.structs.replace(case.run, seed=case.run.seed + seed)
        problems.append(problem_of(msgspec.structs.replace(case, run=run, name=f"fresh-{len(problems)}")))
    answers = network.ask(problems)
    return [Observation(p, answer) for p, answer in zip(problems, answers, strict=True) if answer]


# -- what was measured as a base ---------------------------------------------------------------------------------


def measured_causes(ask: AskTensors, search: Search, *, name: str) -> list[Found]:
    """What explains a search's observations of networks by what is measured in the lanes that are wrong first."""
    case = search.first.problem.case
    if measurable(case.lstm):
        return []
    network = MeasuredNetwork(ask, case.lstm, name, search.layout, case.attention_decoder)
    names: dict[str, list[str]] = {}
    clock = Clock("measured", search.until)
    while not clock.is_over:
        label = _first_wrong(search, names, next(iter(network.places)))
        if label in names:
            break
        box = network.box(label)
        # Of a single lane the search itself looks for pairs.
        readings = [] if box.refusal else list(_readings(box, clock, pairs=len(network.places) > 1))
        for reading in readings:
            causes = _explaining(search, {**names, label: reading})
            if causes:
                return causes
        if not readings:
            break
        names[label] = readings[0]
    return _upon(search, names, clock)


def _first_wrong(search: Search, names: Measured, only: str) -> str:
    """The lane that is wrong first under what was measured; the only one where there are no others."""
    wrong = search.first.first_wrong(next(together(names, search.first.problem), ()))
    return wrong[0] if wrong else only


def _readings(box: LaneBlackBox | CellBlackBox, clock: Clock, *, pairs: bool) -> Iterator[list[str]]:
    """The deviations of a lane: those that are proved for it alone, else each way to read its first timestep."""
    proof = prove(box, clock.end, pairs=pairs)
    if proof.cause is not None:
        yield [deviation.name for deviation in proof.cause]
        return
    bases = () if clock.is_over else measured_bases(box)
    for changes in islice(bases, MOST_LANE_READINGS):
        yield list(names_of(changes))


def upon_measured(search: Search, names: Measured) -> list[Found]:
    """What explains everything on top of what was measured in lanes: nothing more, or one deviation more."""
    return _explaining(search, names) or _upon(search, names, Clock("measured", search.until))


def _explaining(search: Search, names: Measured) -> list[Found]:
    """What was measured in lanes, in the scopes in which it explains everything."""
    for cause in islice(together(names, search.first.problem), MOST_TOGETHER):
        if cause and search.first.passes(cause)[0]:
            causes = search.confirmed([Found(cause, 0.0)])
            if causes:
                return causes
    return []


def _upon(search: Search, names: Measured, clock: Clock) -> list[Found]:
    """One deviation, or one with a number, that explains everything on top of what was measured."""
    base = next(together(names, search.first.problem), ())
    return search.upon(base, clock) if base and not clock.is_over else []


def together(names: Measured, problem: AnyProblem) -> Iterator[Cause]:
    """The deviations of all lanes as one cause, for each choice of scopes, the widest first.

    A lane that was not measured may have any of them.
    """
    options = [list(_in_scopes(name, names, problem)) for name in dict.fromkeys(n for of in names.values() for n in of)]
    for choice in product(*(option for option in options if option)):
        yield tuple(deviation for group in choice for deviation in group)


def _in_scopes(name: str, names: Measured, problem: AnyProblem) -> Iterator[Cause]:
    """A deviation in each set of lanes that fits where it was measured; else in each of these lanes by itself."""
    having = {label for label, of_lane in names.items() if name in of_lane}
    lacking = set(names) - having
    fits = False
    for scope in scopes_of(problem):
        if having <= set(scope.lanes) and not lacking & set(scope.lanes):
            deviation = find(_named(name, scope.name), problem)
            if deviation is not None:
                fits = True
                yield (deviation,)
    if not fits:
        alone = [find(_named(name, label), problem) for label in sorted(having)]
        if None not in alone:
            yield tuple(alone)  # type: ignore[arg-type]


def _named(name: str, scope: str) -> str:
    """The name of a plain layer's deviation in a scope."""
    head, *parts = name.split("@")
    return "@".join([head, *([scope.replace(" ", "-")] if scope else []), *parts])
