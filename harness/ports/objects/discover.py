"""What is found out of an object: what its arrays are, how it is called, and whether it does as its names claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.gates import GATES
from lockstep.harness.ports.objects.build import PROBE, Maker
from lockstep.harness.ports.objects.calling import Caller, Entry, Style, entry_of
from lockstep.harness.ports.objects.holders import Holder, check_holder
from lockstep.harness.ports.objects.mapping import ParameterMap, find_mapping, find_sizes
from lockstep.harness.ports.objects.measure import (
    Questions,
    Result,
    added_forget_bias,
    behaving_order,
    find_results,
    find_style,
    states_exchanged,
)
from lockstep.harness.ports.objects.rule import Rule
from lockstep.harness.ports.shape_errors import Shape

_HIDDEN = ("hidden_size", "hidden_dim", "units", "n_hidden", "num_units", "hidden_features")
_INPUT = ("input_size", "input_dim", "n_in", "in_features", "n_inputs")


class UncalledError(UserCodeError):
    """No way of calling an object gave h of all timesteps; a part of it may."""

    def __init__(self, cause: UserCodeError, part: str) -> None:
        """Take why, and where in the object all arrays of the LSTM are; nothing if they are its own."""
        super().__init__(str(cause), cause.outcome.status)
        self.part = part


@dataclass(frozen=True)
class ObjectFound:
    """All that is found of an object."""

    mapping: ParameterMap
    style: Style
    results: tuple[Result, ...]
    entry: Entry
    fixed: bool  # whether it has sizes of its own
    known_by: str  # by what the gates are known: names, measured, assumed, --layout
    acts: dict[str, str] | None  # as which gate each acts, where that is not as its names claim
    remarks: tuple[str, ...]  # where it does not do as it says
    calls: int  # that this took

    @property
    def takes_states(self) -> bool:
        """Whether it starts from an h and a c that it is given."""
        return self.style.states and not self.style.h_alone


def asked_part(thing: Any, name: str) -> tuple[Holder, Entry]:
    """The arrays of an object, and how it is called.

    Raises:
        UserCodeError: If it has none, or is not called.
    """
    holder = Holder(thing)
    check_holder(holder, name)
    entry = entry_of(thing)
    if entry is None:
        raise UserCodeError(f"{name} is called by nothing that is known: give it __call__ or forward", "wrong")
    return holder, entry


def discover(holder: Holder, entry: Entry, maker: Maker, rule: Rule) -> ObjectFound:
    """Find out what an object is; its arrays are put back.

    Raises:
        UserCodeError: If its arrays make no LSTM, or no way of calling it gives h of all timesteps.
    """
    before = holder.read()
    shapes = {path: array.shape for path, array in before.items()}
    mapping = _mapped(shapes, holder, maker, rule)
    questions = Questions(holder, Caller(holder, entry), mapping)
    try:
        style, given, remarks = _styled(questions, rule)
        results = find_results(questions, style, given)
        questions.caller.plan = tuple(result.path for result in results)
        style, of_states = _with_states(questions, style, results)
        mapping, known_by, acts, of_gates = _with_gates(questions, style, results[0], rule)
        questions.mapping = mapping
        mapping, of_bias = _with_forget_bias(questions, style, results[0], rule)
    finally:
        holder.write(before)
    fixed = maker.made or mapping.sizes != PROBE
    remarks = (*remarks, *of_states, *of_gates, *of_bias)
    return ObjectFound(mapping, style, tuple(results), entry, fixed, known_by, acts, remarks, questions.caller.calls)


def discover_part(maker: Maker, rule: Rule, uncalled: UncalledError) -> tuple[ObjectFound, Maker]:
    """Find out what that part of an object is that holds the LSTM, and how to make it alone.

    Raises:
        UncalledError: If that part is not called either.
    """
    of_part = replace(maker, part=uncalled.part)
    try:
        part = of_part.make(PROBE)
        found = discover(*asked_part(part, maker.name), of_part, rule)
    except (UserCodeError, AttributeError, LookupError):
        raise uncalled from None
    others = [path for path in Holder(maker.make(PROBE)).read() if not path.startswith(f"{uncalled.part}.")]
    beside = f", with {', '.join(others)}" if others else ""
    told = f"{uncalled.part} alone is checked: what {maker.name} does before and after it{beside}, is not covered"
    return replace(found, remarks=(told, *found.remarks)), of_part


def _styled(questions: Questions, rule: Rule) -> tuple[Style, Arrays, list[str]]:
    try:
        return find_style(questions, batch_first=rule.batch_first)
    except UserCodeError as error:
        parents = [slot.path.split(".")[:-1] for slot in questions.mapping.slots]
        shared = [steps[0] for steps in zip(*parents, strict=False) if len(set(steps)) == 1]
        raise UncalledError(error, ".".join(shared)) from error


def _mapped(shapes: dict[str, Shape], holder: Holder, maker: Maker, rule: Rule) -> ParameterMap:
    """What each array is: of the sizes that were asked for, or of sizes of its own, if fewer arrays are left over."""
    own = find_sizes(shapes, _hints(holder.thing))
    asked = own or PROBE if maker.made else PROBE
    readings, errors = [], []
    for sizes in dict.fromkeys((asked, own or asked)):
        try:
            readings.append(find_mapping(shapes, sizes, maker.name, rule))
        except UserCodeError as error:
            errors.append(error)
    if not readings:
        raise errors[0]
    return min(readings, key=lambda mapping: len(mapping.others))


def _with_states(questions: Questions, style: Style, results: Sequence[Result]) -> tuple[Style, list[str]]:
    """Which of two states is h: as names say, or as it returns them, else as it is measured."""
    two = style.states and not style.h_alone
    if not two or not states_exchanged(questions, style, results[0]):
        return style, []
    returned = [result.role for result in results if result.role in {"h", "c"}]
    if questions.caller.entry.swapped is None and returned != ["h", "c"]:
        return replace(style, swapped=not style.swapped), []
    pair = "(c, h)" if style.swapped else "(h, c)"
    return style, [f"its states are named or returned as {pair}, and it uses what it is given the other way round"]


def _with_gates(
    questions: Questions, style: Style, h_seq: Result, rule: Rule
) -> tuple[ParameterMap, str, dict[str, str] | None, list[str]]:
    """The order of gates as names claim it, held against what is measured; where they claim none, as measured."""
    mapping = questions.mapping
    acts = behaving_order(questions, style, h_seq)
    if acts is None and mapping.turned is not None and not mapping.layout:
        # Which part of a fused kernel is that of x, no name says.
        questions.mapping = mapping.turned
        acts = behaving_order(questions, style, h_seq)
        mapping = mapping if acts is None else mapping.turned
    known_by = "--layout" if rule.gates or rule.parameters else "names"
    if not mapping.claims:
        if acts is None:
            return mapping, "assumed", None, ["which gate is which was not to be measured: their order is assumed"]
        doubts = [f"{gates} act alike, and are taken in the order in which they lie" for gates in acts.alike]
        return mapping.reordered(acts.gates), "measured", None, doubts
    if known_by == "names" and mapping.layout:
        known_by = f"names ({mapping.layout})"
    agreeing = acts is None or all(gate == act for gate, act in acts.gates.items())
    return mapping, known_by, None if acts is None or agreeing else acts.gates, []


def _with_forget_bias(questions: Questions, style: Style, h_seq: Result, rule: Rule) -> tuple[ParameterMap, list[str]]:
    """A forget bias that names claim, if the object adds it: both readings are tried, and what holds is told."""
    mapping = questions.mapping
    claimed = mapping.forget_bias or _number(questions.holder.thing, "forget_bias")
    if not claimed or rule.forget_bias is not None:
        return mapping, []
    added = added_forget_bias(questions, style, h_seq)
    adds = added is None or abs(added - claimed) < abs(added)
    what = "it adds it at run time, so that b is set without it" if adds else "it adds none at run time: b is set whole"
    unsure = " (assumed: it was not to be measured)" if added is None else ""
    return replace(mapping, forget_bias=claimed if adds else 0.0), [
        f"names claim a forget bias of {claimed:g}; {what}{unsure}"
    ]


def _hints(thing: Any) -> dict[str, int]:
    """The sizes that an object tells itself."""
    hints = {}
    for meaning, names in (("hidden_size", _HIDDEN), ("input_size", _INPUT)):
        values = [int(_number(thing, name)) for name in names if _number(thing, name)]
        if values:
            hints[meaning] = values[0]
    return hints


def _number(thing: Any, name: str) -> float:
    value = getattr(thing, name, 0)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def claimed_order(found: ObjectFound) -> str:
    """The order of gates in which weights would lie if the object's behaviour is right, and its names are not."""
    acts = found.acts or dict(zip(GATES, GATES, strict=True))
    return "".join(acts[gate] for gate in found.mapping.order)
