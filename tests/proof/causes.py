"""How well causes are found: ``python tests/proof/causes.py [--runs N] [--kind single] [--form NAME] [--publish]``.

Slips are drawn from an implementation of their own (``tests/planted_causes``), one, two or three at once, over all
forms; each port is checked as ``lockstep check`` does. Whether the cause that is named is right, numbers decide: run
with the named cause on problems of other sizes that nobody has seen, the reference must give what the port gives there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "planted_causes")]

from forms import Form, forms  # noqa: E402
from touchable import Slip  # noqa: E402

from lockstep.harness.arrays import Arrays  # noqa: E402
from lockstep.harness.cases.case import Case  # noqa: E402
from lockstep.harness.cases.decoder_problem import problem_of  # noqa: E402
from lockstep.harness.comparison.results import Diagnosis, RunResult  # noqa: E402
from lockstep.harness.diagnosis.named_causes import JOIN, expected_named, holding  # noqa: E402
from lockstep.harness.diagnosis.observation import Observation  # noqa: E402
from lockstep.harness.jobs.check import check  # noqa: E402
from lockstep.harness.ports.port import LocalPort  # noqa: E402
from lockstep.harness.reference.noise import LIMIT_SIGMA  # noqa: E402

KINDS = {"single": 1, "pair": 2, "triple": 3}
SHARES = {"single": 6, "pair": 3, "triple": 1}  # of what is drawn where no kind is asked for
LEAST_RIGHT = 0.97  # of singles
VERDICTS = ("right", "among several", "in part", "measured", "unexplained", "wrong", "undetected")
MOST_DRAWS = 50  # until slips are drawn that can be seen, each beside the others


@dataclass(frozen=True)
class Planted:
    """A port with slips, and what came of it."""

    form: str
    kind: str
    slips: str  # their names
    of_kind: str  # what is planted first
    verdict: str
    named: list[str]
    alternatives: bool
    seconds: float

    @property
    def line(self) -> str:
        """What was planted and what was named, in a line."""
        named = "; ".join(dict.fromkeys(self.named)) or "nothing"
        return f"{self.form} | {self.kind} | {self.slips} | {self.verdict} | {named} | {self.seconds:.1f} s"


@dataclass
class Drawn:
    """How slips are drawn: the kind of slip first, so that families of many do not drown those of few."""

    form: Form
    rng: np.random.Generator
    by_kind: dict[str, list[Slip]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Sort the slips by kind."""
        for slip in self.form.slips:
            self.by_kind[slip.kind].append(slip)

    def slips(self, count: int) -> list[Slip] | None:
        """So many slips that can be seen, each beside the others; None where none are met."""
        for _ in range(MOST_DRAWS):
            kinds = list(self.by_kind)
            drawn = []
            for _ in range(count):
                of_kind = self.by_kind[kinds[int(self.rng.integers(len(kinds)))]]
                drawn.append(of_kind[int(self.rng.integers(len(of_kind)))])
            if self.form.fit(drawn) and self._seen(drawn):
                return drawn
        return None

    def _seen(self, slips: list[Slip]) -> bool:
        whole = outputs(self.form, slips, self.form.fresh)
        return all(
            _differ(whole, outputs(self.form, [slip for slip in slips if slip is not left_out], self.form.fresh))
            for left_out in slips
        )


def outputs(form: Form, slips: Sequence[Slip], cases: Sequence[Case]) -> list[Arrays]:
    """What a port with slips gives for cases."""
    with LocalPort(form.port(slips) if slips else form.port(())) as port, np.errstate(all="ignore"):
        outcomes = port.call([problem_of(case) for case in cases])
    return [
        {} if outcome.trace is None else outcome.trace.tensors(case)
        for case, outcome in zip(cases, outcomes, strict=True)
    ]


def _differ(first: list[Arrays], second: list[Arrays]) -> bool:
    return any(
        not np.allclose(array, other[name], rtol=1e-3, atol=1e-4, equal_nan=True)
        for one, other in zip(first, second, strict=True)
        for name, array in one.items()
    )


def check_drawn(form: Form, kind: str, slips: list[Slip]) -> Planted:
    """Check a port with slips, and judge what it is told."""
    with LocalPort(form.port(slips)) as port, np.errstate(all="ignore"):
        start = time.process_time()
        runs = check(port, form.checked)
        seconds = time.process_time() - start
    verdict, named, alternatives = judge(form, slips, runs)
    names = " + ".join(slip.name for slip in slips)
    return Planted(form.name, kind, names, slips[0].kind, verdict, named, alternatives, seconds)


def judge(form: Form, slips: list[Slip], runs: Sequence[RunResult]) -> tuple[str, list[str], bool]:
    """The verdict, what was named, and whether there were several explanations."""
    made = outputs(form, slips, form.fresh)
    fresh = [Observation(problem_of(case), tensors) for case, tensors in zip(form.fresh, made, strict=True)]
    verdicts, named, alternatives = [], [], False
    for run, seen in zip(runs, fresh, strict=True):
        if run.status != "diverge":
            continue
        if not run.diagnosis:
            verdicts.append("unexplained")
            continue
        first = run.diagnosis[0]
        named.append(first.fault)
        alternatives |= bool(first.indistinguishable_from) and first.sigma is not None
        with np.errstate(all="ignore"):
            verdicts.append(_verdict(run.diagnosis, seen, fresh))
    return _of_all(verdicts), named, alternatives


def _verdict(diagnosis: Sequence[Diagnosis], seen: Observation, fresh: Sequence[Observation]) -> str:
    first = diagnosis[0]
    if first.sigma is None:
        return "unexplained" if first.fault == "unexplained" else "measured"
    if predicts(first, seen, fresh):
        return "right"
    return "among several" if any(predicts(other, seen, fresh) for other in diagnosis[1:]) else "wrong"


def predicts(cause: Diagnosis, seen: Observation, fresh: Sequence[Observation]) -> bool:
    """Whether the reference with a cause gives what the port gave for numbers and sizes that no search has seen."""
    return cause.fault in holding([cause.fault], [seen]) and not _says_too_much(cause.fault, fresh)


def _says_too_much(fault: str, fresh: Sequence[Observation]) -> bool:
    """Whether what is named together gives the same everywhere without one of its parts: that accuses what is right."""
    parts = fault.split(JOIN)
    fewer = [JOIN.join(parts[:k] + parts[k + 1 :]) for k in range(len(parts))] if len(parts) > 1 else []
    return any(all(_gives(left, seen) for seen in fresh) for left in fewer)


def _gives(fault: str, seen: Observation) -> bool:
    expected = expected_named(fault, seen.problem)
    return expected is not None and seen.distance(expected, None) <= LIMIT_SIGMA


def _of_all(verdicts: list[str]) -> str:
    """The verdict over all cases that diverge."""
    kinds = set(verdicts)
    if not kinds:
        return "undetected"
    if "wrong" in kinds or len(kinds) == 1:
        return "wrong" if "wrong" in kinds else verdicts[0]
    return "among several" if kinds == {"right", "among several"} else "in part"


def _count_what_is_computed() -> None:
    """What a call takes decides what is asked: let it be what it computes, so that a busy machine loses no causes."""
    time.perf_counter = time.process_time


def planted_in(options: argparse.Namespace) -> Iterator[Planted]:
    """Draw slips over forms in turn, and check them, several processes at once."""
    if options.slips:
        form = chosen_forms(options.form)[0]
        by_name = {slip.name: slip for slip in form.slips}
        slips = [by_name[name] for name in options.slips.split(" + ")]
        yield check_drawn(form, list(KINDS)[len(slips) - 1], slips)
        return
    numbers = range(options.runs)
    if options.jobs == 1:
        results = map(partial(nth, options), numbers)
    else:
        pool = ProcessPoolExecutor(options.jobs, get_context("spawn"), _count_what_is_computed)
        results = pool.map(partial(nth, options), numbers)
    yield from (one for one in results if one is not None)


def nth(options: argparse.Namespace, number: int) -> Planted | None:
    """The port of a number, which draws by itself; None where nothing is met that can be seen."""
    chosen = chosen_forms(options.form)
    rng = np.random.default_rng([options.seed, number])
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    form = chosen[number % len(chosen)]
    kind = options.kind or kinds[int(rng.integers(len(kinds)))]
    slips = Drawn(form, rng).slips(KINDS[kind])
    return None if slips is None else check_drawn(form, kind, slips)


@cache
def chosen_forms(beginning: str | None) -> list[Form]:
    """The forms whose name begins so, or all."""
    everything = forms()
    chosen = [form for form in everything if beginning is None or form.name.startswith(beginning)]
    if not chosen:
        raise SystemExit(f"no form begins with {beginning!r}; there are: {', '.join(form.name for form in everything)}")
    return chosen


def tables(planted: Sequence[Planted], seed: int) -> list[str]:
    """The summary, in Markdown."""
    lines = [f"{len(planted)} ports drawn with seed {seed}, {date.today().isoformat()}; seconds of one core.", ""]  # noqa: DTZ011
    lines += _table("Form", planted, lambda one: one.form)
    for kind in KINDS:
        of_kind = [one for one in planted if one.kind == kind]
        if of_kind:
            lines += ["", f"**{kind.capitalize()}s**, by what was planted first:", ""]
            lines += _table("Planted", of_kind, lambda one: one.of_kind)
    return lines


def _table(title: str, planted: Sequence[Planted], key) -> list[str]:
    lines = [
        f"| {title} | slips | ports | " + " | ".join(VERDICTS) + " | median s | 90 % | largest | with alternatives |",
        "| --- | --- |" + " ---: |" * (len(VERDICTS) + 5),
    ]
    rows: dict[tuple[str, str], list[Planted]] = defaultdict(list)
    for one in planted:
        rows[one.kind, key(one)].append(one)
    for (kind, name), found in sorted(rows.items(), key=lambda row: (list(KINDS).index(row[0][0]), row[0][1])):
        lines.append(_row(name, kind, found))
    for kind in KINDS:
        of_kind = [one for one in planted if one.kind == kind]
        if of_kind:
            lines.append(_row("**all**", kind, of_kind))
    return lines


def _row(name: str, kind: str, planted: Sequence[Planted]) -> str:
    counts = Counter(one.verdict for one in planted)
    seconds = [one.seconds for one in planted]
    explained = [one for one in planted if one.verdict in {"right", "among several"}]
    several = sum(one.alternatives for one in explained) / max(len(explained), 1)
    cells = [str(counts[verdict] or "") for verdict in VERDICTS]
    times = [f"{number:.1f}" for number in (np.median(seconds), np.quantile(seconds, 0.9), max(seconds))]
    return f"| {name} | {kind} | {len(planted)} | {' | '.join(cells)} | {' | '.join(times)} | {several:.0%} |"


BEGIN, END = "<!-- causes: written by nox -s causes -- --publish -->", "<!-- end of causes -->"


def publish(page: Path, lines: Sequence[str]) -> None:
    """Put the tables between the two marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")


def main() -> int:
    """Draw, check, print; 1 if anything is named wrong, or too few singles are right."""
    _count_what_is_computed()
    options = _options()
    planted = []
    for one in planted_in(options):
        planted.append(one)
        if options.all or one.verdict != "right":
            print(one.line, flush=True)
    lines = tables(planted, options.seed)
    print("\n".join(["", *lines]))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in planted], indent=2) + "\n")
    if options.publish:
        publish(Path(__file__).parents[2] / "docs" / "causes.md", lines)
    singles = [one.verdict for one in planted if one.kind == "single"]
    wrong = any(one.verdict == "wrong" for one in planted)
    return int(wrong or singles.count("right") < LEAST_RIGHT * len(singles))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=240, help="ports, over the forms in turn")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of slips")
    parser.add_argument("--kind", choices=list(KINDS), help="so many slips at once; all three if left out")
    parser.add_argument("--form", help="forms whose name begins so")
    parser.add_argument("--slips", help='in the place of a draw: the names of slips, joined by " + ", of one --form')
    parser.add_argument("--all", action="store_true", help="print every port, not only those that are not right")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was planted and named into this file")
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/causes.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
