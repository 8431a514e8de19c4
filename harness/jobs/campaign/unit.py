"""What a campaign is made of, as plain values that any machine reads: its settings, its units, what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from msgspec import Struct, field

from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.jobs.settings import TIMEOUT

PROBLEMS = 5  # of each network: what compiles does so once for all
# Of a unit, that of its worst run: of what says nothing, of what is as it should be, and of what is not.
Verdict = Literal["refused", "agree", "known", "diverge", "failed", "timeout", "crashed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


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
    features: tuple[str, ...]  # that networks and decoders may have
    # By backend, the features that it runs, each alone; of a port, those that it answers. Asked once, at the start.
    supported: dict[str, tuple[str, ...]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)  # by backend: "lstm", "attention_decoder"
    problems: int = PROBLEMS
    timeout: float = TIMEOUT  # seconds for one run
    limit: float | None = None  # sigma; None leaves it to each case
    port: TargetWords | None = None  # what runs in the place of backends


class Unit(Struct, frozen=True, kw_only=True):
    """One network through one backend, with its problems."""

    k: int
    backend: str
    features: tuple[str, ...]  # what the network has beyond one forward layer of the standard cell
    problems: tuple[Case, ...]  # the same network with other numbers, lengths and resets each

    @property
    def case(self) -> Case:
        """The network, with its first numbers."""
        return self.problems[0]


class UnitPlan(Protocol):
    """The units of a campaign, without end: each a pure function of (campaign, k), cheap enough to be asked twice."""

    def unit(self, k: int) -> Unit:
        """Draw the k-th unit."""
        ...


class Ran(Struct, frozen=True, kw_only=True):
    """One run: a problem through a backend."""

    n: int  # which problem of its unit
    verdict: Verdict
    sigma: float | None = None  # the largest; None where nothing was compared
    known: str | None = None  # the finding that it is
    expected: str | None = None  # the finding whose conditions it meets, shown or not
    framework_seconds: float = 0.0  # from the problem sent to the answer there
    harness_seconds: float = 0.0  # making the problem, what is expected of it, judging
    by_copies: bool = False  # whether rounding that the network amplifies was measured to judge it
    in_part: bool = False  # whether something of it is undetermined, and not judged
    notes: tuple[str, ...] = ()  # such as that its process died once, and not again
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

    @property
    def verdict(self) -> Verdict:
        """That of the worst run."""
        return worst_of([run.verdict for run in self.runs])

    @property
    def sigma(self) -> float | None:
        """The largest of what agrees; None where nothing does."""
        return max((run.sigma for run in self.runs if run.verdict == "agree" and run.sigma is not None), default=None)


def worst_of(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several verdicts; of none, that it was refused."""
    return max(verdicts, key=VERDICTS.index, default="refused")
