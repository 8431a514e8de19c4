"""A deviation: an edit at a site in a scope, with a stable name, and how it is put into a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import Lane, lanes
from lockstep.harness.causes.edits import AtEnd, Edits, Steps, every
from lockstep.harness.causes.network_run import label_of

FORWARD, BACK = "forward", "back"
ON_THE_WAY_BACK = " on the way back"  # behind the site of what is read otherwise there alone


class Scope(NamedTuple):
    """Where an edit holds: in which lanes, at which timesteps of their own order."""

    name: str  # "" is everywhere
    lanes: tuple[str, ...]
    steps: str = ""
    first_sequence: int = 0  # of the batch; those before it are run as they should be

    @property
    def suffix(self) -> str:
        """What it adds to a name."""
        sequences = f"from sequence {self.first_sequence}" if self.first_sequence else ""
        return "".join(f"@{part}" for part in (self.name, self.steps, sequences) if part)


Put = Callable[[Edits, AnyProblem, Scope], None]  # raises NoPlaceError where a problem has no place for it


class Deviation(NamedTuple):
    """One thing done otherwise."""

    site: str
    edit: str
    scope: Scope
    put: Put
    way: str = FORWARD  # or BACK: what goes forward stays as it is
    form: str = ""  # the number format that it rounds to

    @property
    def name(self) -> str:
        """Its stable name."""
        return f"{self.site}:{self.edit}{self.scope.suffix}".replace(" ", "-")

    def in_scope(self, **changes: Any) -> Deviation:
        """The same in another scope."""
        return self._replace(scope=self.scope._replace(**changes))


def edits_of(deviations: Iterable[Deviation], problem: AnyProblem) -> Edits:
    """The edits of several deviations at once.

    Raises:
        NoPlaceError: If the problem has no place for one of them.
    """
    edits = Edits()
    for turn, deviation in enumerate(deviations, start=1):
        edits.turn = turn
        deviation.put(edits, problem, deviation.scope)
        edits.first_sequence = max(edits.first_sequence, deviation.scope.first_sequence)
    return edits


@lru_cache(maxsize=32)
def scopes_of(problem: AnyProblem) -> list[Scope]:
    """Sets of lanes, the widest first; of several names for one set the first."""
    kept: dict[tuple[str, ...], Scope] = {}
    top_of_many: list[Scope] = []
    for name, labels in _named_lanes(problem).items():
        if name == "top" and problem.case.lstm.num_layers > 2:  # noqa: PLR2004 (in two layers it is the last's label)
            top_of_many = [Scope(name, labels)]
        # A single lane bears its own label.
        elif labels and (len(labels) > 1 or name in labels or not name):
            kept.setdefault(labels, Scope(name, labels))
    return [*kept.values(), *top_of_many]


def scope_named(name: str, problem: AnyProblem) -> Scope | None:
    """The lanes of a name, which in a network of another depth may bear another."""
    labels = _named_lanes(problem).get(name)
    return Scope(name, labels) if labels else None


def _named_lanes(problem: AnyProblem) -> dict[str, tuple[str, ...]]:
    if isinstance(problem, DecoderProblem):
        return {"": ("decoder",)} | ({"encoder": ("encoder",)} if problem.enc is None else {})
    places = lanes(problem.case.lstm)
    whole = tuple(label_of(place) for place in places)
    if problem.case.lstm.single:
        return {"": whole}
    layers = range(problem.case.lstm.num_layers)
    top = max(layers)
    sets: dict[str, list[Lane]] = {
        "upper": [p for p in places if p.layer > 0],
        "reverse": [p for p in places if p.reverse],
        "forward": [p for p in places if not p.reverse],
        "below the top": [p for p in places if p.layer < top],
        **{f"layer {k}": [p for p in places if p.layer == k] for k in layers},
        "top": [p for p in places if p.layer == top],
        **{label_of(p): [p] for p in places},
    }
    return {"": whole} | {name: tuple(label_of(p) for p in of_name) for name, of_name in sets.items()}


def architecture_of(problem: AnyProblem) -> tuple[Any, ...]:
    """What decides which deviations a problem has a place for; sizes do not, but for a single timestep's."""
    # Tables of deviations are long, and made once for all problems that are alike in this.
    case, lstm = problem.case, problem.case.lstm
    back = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    return (
        case.model, lstm.num_layers, lstm.direction, lstm.merge_mode, bool(lstm.proj_size), lstm.peephole,
        lstm.cell_clip is None, lstm.input_forget, lstm.activation, lstm.recurrent_activation, lstm.cell_activation,
        bool(lstm.forget_bias), problem.lengths is None, case.run.dtype, back is None,
        case.run.chunks is None, case.run.resets is None,
        isinstance(problem, DecoderProblem)
        and (problem.enc is None, problem.decoder.context, *problem.weights.arrays()),
    )  # fmt: skip


def steps_of(name: str, timesteps: int) -> Steps:
    """At which timesteps an edit holds, by name: one of ``STEPS``, or "from 3", "at 3", "every 3"."""
    if name in _STEPS:
        return _STEPS[name]
    if name in {"last", "earlier"}:
        return AtEnd(timesteps, is_last=name == "last")
    kind, _, number = name.partition(" ")
    n = int(number)
    return {"from": lambda t: t >= n, "at": lambda t: t == n, "every": lambda t: t > 0 and t % n == 0}[kind]


_STEPS: dict[str, Steps] = {"": every, "first": lambda t: t == 0, "later": lambda t: t > 0}
STEPS = ("first", "later", "last", "earlier")


def timesteps_of(problem: AnyProblem) -> int:
    """How many timesteps its lanes go through."""
    return problem.case.run.timesteps


def spread_over(
    problem: AnyProblem,
    site: str,
    edit: str,
    put: Put,
    way: str = FORWARD,
    steps: Iterable[str] = ("",),
    form: str = "",
) -> Iterator[Deviation]:
    """A deviation in every scope."""
    for scope in scopes_of(problem):
        for step in steps:
            yield Deviation(site, edit, scope if not step else Scope(scope.name, scope.lanes, step), put, way, form)


def put_rules(rules: dict[str, Any]) -> Put:
    """Set rules of every lane in scope; curves can be set at some timesteps alone."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        steps = steps_of(scope.steps, timesteps_of(problem)) if scope.steps else None
        for label in scope.lanes:
            for name, value in rules.items():
                if name.startswith("curve ") and steps is not None:
                    edits.curves.setdefault((label, name), []).append((steps, value))
                else:
                    edits.rules[label, name] = value

    return put
