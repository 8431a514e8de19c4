"""What a campaign is made of, as plain values that any machine reads: its settings, its units, what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

from lockstep.harness.cases.case import Case, Model
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.jobs.campaign.units import PROBLEMS
from lockstep.harness.jobs.settings import TIMEOUT

# Of a unit, that of its worst run: of what says nothing, of what is as it should be, and of what is not.
UnitVerdict = Literal["refused", "agree", "known", "diverge", "failed", "timeout", "crashed"]
UNIT_VERDICTS: tuple[UnitVerdict, ...] = get_args(UnitVerdict)


class TargetWords(Struct, frozen=True):
    """A user's implementation in the words of the command line, absolute paths in them: FILE.py:NAME or a program."""

    target: str | None = None
    command: str | None = None
    command_serve: str | None = None
    init: str | None = None
    layout: str | None = None
    arrays: str | None = None


class Campaign(Struct, frozen=True, kw_only=True):
    """The settings of a campaign: all that its units depend on. Kept in the journal, sent to every worker once."""

    seed: int
    backends: tuple[str, ...]  # by name; of a port, the name of the port alone
    models: tuple[Model, ...]  # what these run, together
    features: tuple[str, ...] = ()  # that networks may have; none: all there are
    problems: int = PROBLEMS  # of each network: what compiles does so once for all
    timeout: float = TIMEOUT  # seconds for one run
    limit: float | None = None  # sigma; None leaves it to each case
    port: TargetWords | None = None  # what runs in the place of backends


class Unit(Struct, frozen=True, kw_only=True):
    """One network through one backend, with its problems."""

    k: int  # of the configuration, which with the backend is the unit
    backend: str
    features: tuple[str, ...]  # what the network has beyond one forward layer of the standard cell
    problems: tuple[Case, ...]  # the same network with other numbers, lengths and resets each

    @property
    def case(self) -> Case:
        """The network, with its first numbers."""
        return self.problems[0]


class Ran(Struct, frozen=True, kw_only=True):
    """One run: a problem through a backend."""

    n: int  # which problem of its unit
    verdict: UnitVerdict
    sigma: float | None = None  # the largest; None where nothing was compared
    known: str | None = None  # the finding that it is
    expected: str | None = None  # the finding whose conditions it meets, shown or not
    framework_seconds: float = 0.0  # from the problem sent to the answer there
    harness_seconds: float = 0.0  # making the problem, what is expected of it, judging
    by_copies: bool = False  # whether rounding that the network amplifies was measured to judge it
    in_part: bool = False  # whether something of it is undetermined, and not judged
    notes: tuple[str, ...] = ()  # such as that its process died once, and not again
    case: Case | None = None  # of what is new, as it was given
    result: RunResult | None = None  # of what is new: without single numbers


class UnitResult(Struct, frozen=True, kw_only=True):
    """What came of a unit."""

    k: int
    backend: str
    features: tuple[str, ...]
    runs: tuple[Ran, ...]
    versions: dict[str, str]  # of lockstep and of what the backend requires
    machine: str = ""
    reason: str | None = None  # why it was refused
    megabytes: float | None = None  # that the framework's process has now
    worker: tuple[str, float] | None = None  # which process of ours ran it, and the megabytes that it has now

    @property
    def verdict(self) -> UnitVerdict:
        """That of the worst run."""
        return worst_of([run.verdict for run in self.runs])

    @property
    def sigma(self) -> float | None:
        """The largest of what agrees; None where nothing does."""
        return max((run.sigma for run in self.runs if run.verdict == "agree" and run.sigma is not None), default=None)


def worst_of(verdicts: Sequence[UnitVerdict]) -> UnitVerdict:
    """The worst of several verdicts; of none, that it was refused."""
    return UNIT_VERDICTS[max(map(UNIT_VERDICTS.index, verdicts), default=0)]
