"""Prove the limit: ``python tests/proof/agreement.py [--structures N] [--seeds N] [--write docs/proof.md]``.

Random networks over the whole space of ``harness.cases.random_cases``, each with several seeds, through every
backend; for each feature and dtype the root mean square and the largest sigma, forward and backward, and the false
alarms. Then healthy styles of decoders and networks (``styles``), and the other side: the smallest change of one
weight, one state, one activation that is seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from detection import detection_table
from msgspec.structs import replace
from random_networks import random_case, random_decoder
from styles import Styles

from lockstep.harness.adapters.backend import BackendInfo, find_backends, pairs
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.random_cases import (
    DTYPES,
    MOST_SEED,
    RANDOM_DECODER_FEATURES,
    RANDOM_FEATURES,
    features_of,
)
from lockstep.harness.cases.tensors import BACKWARD, kind_of
from lockstep.harness.jobs.findings import expected_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import outcomes
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA

JOBS = 2  # frameworks at once, as many as there are cores to expect
LOWEST, HIGHEST = 0.05, 1.5  # of the root mean square in every row


@dataclass
class Row:
    """What was seen of one feature in one dtype."""

    runs: int = 0
    amplified: int = 0  # beyond the limit by first-order noise, and judged by that of copies
    alarms: int = 0
    known: int = 0  # not judged: a finding says what comes of them
    count: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    squares: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})
    largest: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})

    def add(self, sigma: np.ndarray, *, backward: bool) -> None:
        """Count the numbers of one tensor."""
        self.count[backward] += sigma.size
        self.squares[backward] += float(np.square(sigma, dtype=np.float64).sum())
        self.largest[backward] = max(self.largest[backward], float(sigma.max(initial=0)))

    def rms(self, *, backward: bool) -> float | None:
        """Give the root mean square of sigma."""
        return (self.squares[backward] / self.count[backward]) ** 0.5 if self.count[backward] else None

    @property
    def sound(self) -> bool:
        """Whether there is no false alarm, and neither root mean square is out of bounds."""
        means = [mean for mean in (self.rms(backward=False), self.rms(backward=True)) if mean is not None]
        return not self.alarms and all(LOWEST <= mean <= HIGHEST for mean in means)


def main() -> int:
    """Run the proof and print its tables; exit status 1 if a row is not as it must be."""
    options = _options()
    backends = find_backends(options.backend or None)
    started = time.perf_counter()
    cases = list(random_cases(options.structures, options.seeds, options.seed))
    rows, alarms = prove(cases, backends)
    styles = Styles()
    styles.add_all()
    own = {(name, ""): row for (kind, name), row in rows.items() if kind == "backend"}
    numbers = sum(sum(row.count.values()) for row in own.values())
    told = (
        f"{len(cases)} random configurations ({options.structures} networks, {options.seeds} seeds each), "
        f"{sum(row.runs for row in own.values())} runs of {len(backends)} backends, {numbers:.1e} numbers compared."
    )
    lines = [
        told,
        "",
        *table("Feature and dtype", {key: row for key, row in rows.items() if key[0] != "backend"}),
        "",
        *table("Backend", own),
        "",
        *styles.table(),
        "",
        *detection_table(),
    ]
    sys.stdout.write("\n".join(lines) + "\n\n")
    for alarm in (*alarms, *styles.alarms):
        sys.stdout.write(f"ALARM {alarm}\n")
    sys.stdout.write(f"{time.perf_counter() - started:.0f} s\n")
    if options.write:
        write(options.write, lines)
    return int(bool(styles.alarms) or not all(row.sound for row in rows.values()))


def prove(cases: list[Case], backends: list[BackendInfo]) -> tuple[dict[tuple[str, str], Row], list[str]]:
    """Run random cases through backends.

    Returns:
        Rows by (feature, dtype or storage) and ("backend", name); the false alarms.
    """
    rows: dict[tuple[str, str], Row] = {}
    alarms: list[str] = []
    problems, left = Problems(), Counter(case.name for case, _ in pairs(cases, backends))
    left_in_all = sum(left.values())
    for done, (case, backend, answer) in enumerate(outcomes(cases, backends, problems, jobs=JOBS)):
        expected = expected_of(backend.name, case)
        if expected is not None:
            rows.setdefault(("backend", backend.name), Row()).known += 1
        elif answer.status == "ran":
            result = Judge(problems).judge_outcome(case, backend.name, answer)
            kind = backend.quantised or case.run.dtype
            keys = [(feature, kind) for feature in rows_of(case)] + [("backend", backend.name)]
            own = [rows.setdefault(key, Row()) for key in keys]
            sigmas, amplified = _sigmas(case, answer, problems)
            for row in own:
                row.runs += 1
                row.amplified += amplified
                row.alarms += result.status != "agree"
                for backward, sigma in sigmas:
                    row.add(sigma, backward=backward)
            if result.status != "agree":
                alarms.append(f"{backend.name}: {result.first_divergence} {case}")
        elif answer.status != "unsupported":
            alarms.append(f"{backend.name}: {answer.status} {answer.message} {case}")
        left[case.name] -= 1
        if not left[case.name]:
            problems.drop(case)
        if done % 500 == 0:
            sys.stderr.write(f"{done} of {left_in_all} runs, {len(alarms)} alarms\n")
    return rows, alarms


def random_cases(structures: int, seeds: int, seed: int) -> Iterator[Case]:
    """Draw networks, every fifth an attention decoder, and for each several seeds one after the other.

    So a compiled framework compiles it once.
    """
    rng = np.random.default_rng(seed)
    for n in range(structures):
        draw = random_decoder if n % 5 == 4 else random_case
        case = draw(rng, dtype=DTYPES[n % len(DTYPES)])
        for k in range(seeds):
            run = replace(case.run, seed=int(rng.integers(MOST_SEED)))
            yield replace(case, run=run, name=f"random-{n}-{k}")


def rows_of(case: Case) -> list[str]:
    """The rows of features that a case counts in: "plain" of a network that has none."""
    if case.attention_decoder is not None:
        return ["decoder", *(f"decoder, {name}" for name in features_of(case))]
    return list(features_of(case)) or ["plain"]


Sigmas = list[tuple[bool, np.ndarray]]


def _sigmas(case: Case, answer: Outcome, problems: Problems) -> tuple[Sigmas, bool]:
    """Give sigma of what is determined, by tensor, with whether that is a gradient; then whether copies decided."""
    quantised = answer.trace.quantised if answer.trace is not None else None
    found = list(_against(problems.expected(case, quantised), case, answer))
    if max(float(sigma.max(initial=0)) for _, sigma in found) <= LIMIT_SIGMA:
        return found, False
    return list(_against(problems.widened(case, quantised), case, answer)), True


def _against(expected: Expected, case: Case, answer: Outcome) -> Iterator[tuple[bool, np.ndarray]]:
    assert answer.trace is not None
    for name, actual in answer.trace.tensors(case).items():
        tensor = expected[name]
        with np.errstate(all="ignore"):
            sigma = np.abs((actual.astype(tensor.value.dtype) - tensor.value) - tensor.rest) / tensor.noise
        # Where the noise is not finite nothing is determined.
        yield kind_of(name) in BACKWARD, sigma[np.isfinite(sigma) & np.isfinite(tensor.noise)]


def table(title: str, rows: dict[tuple[str, str], Row]) -> list[str]:
    """Give rows as a table."""
    order = ["plain", *RANDOM_FEATURES, "decoder", *(f"decoder, {name}" for name in RANDOM_DECODER_FEATURES)]
    lines = [
        f"| {title} | runs | rms forward | largest | rms backward | largest | by copies | alarms | known findings |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, dtype in sorted(rows, key=lambda key: (order.index(key[0]) if key[0] in order else 99, key)):
        row = rows[name, dtype]
        cells = []
        for backward in (False, True):
            mean = row.rms(backward=backward)
            cells += ["", ""] if mean is None else [f"{mean:.2f}", f"{row.largest[backward]:.1f}"]
        lines.append(
            f"| {name} {dtype}".rstrip()
            + f" | {row.runs} | {' | '.join(cells)} | {row.amplified} | {row.alarms} | {row.known} |"
        )
    return lines


BEGIN, END = "<!-- proof: written by nox -s proof -->", "<!-- end of proof -->"


def write(path: Path, lines: list[str], begin: str = BEGIN, end: str = END) -> None:
    """Put the tables between the two marks of a page."""
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--structures", type=int, default=500, help="networks, each compiled once")
    parser.add_argument("--seeds", type=int, default=10, help="problems of each network")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of networks")
    parser.add_argument("--backend", action="append", help="a backend to run, may be repeated; else all")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
