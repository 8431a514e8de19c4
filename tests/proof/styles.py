"""The healthy styles of layers, decoders and networks: ``python tests/proof/styles.py [--runs N] [--first SEED]``.

Over random problems, until there are so many runs; ``nox -s proof`` has them over the shipped cases too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from random_networks import random_case, random_decoder

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.find import shipped
from lockstep.harness.jobs.problems import Problems, reseeded
from lockstep.harness.reference.noise import LIMIT_SIGMA

sys.path.insert(0, str(Path(__file__).parents[1]))

from healthy_styles import ALL_FORMS, Distance, distances

AMPLIFIES = "attention-window"  # whose gradients amplify rounding most of what is shipped
SEEDS = 85  # of it: with 25 styles more than 2,000 runs
DRAWN = 100  # random problems of each form
# What the styles of networks have.
FEATURES = (
    "layers", "reverse", "bidirectional", "initial state", "lengths", "projection", "no bias", "gradients"
)  # fmt: skip


class Styles:
    """What was seen of the styles."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.runs: dict[str, list[Distance]] = {}
        self.alarms: list[str] = []

    def add(self, case: Case, where: str) -> None:
        """Run a case in all styles that take it."""
        problems = Problems()
        for form, style, seen in distances(case, problems):
            self.runs.setdefault(f"{form}s, {where}", []).append(seen)
            if not seen.judged <= LIMIT_SIGMA:
                self.alarms.append(f"{form}, {style}: {seen} {case}")

    def add_all(self) -> None:
        """Run random cases, the shipped ones, and the one that amplifies rounding with other numbers."""
        for seed in range(DRAWN):
            self.add_random(seed)
        cases = {name: load_case(path) for name, path in shipped().items()}
        for case in cases.values():
            self.add(case, "shipped")
        for seed in range(SEEDS):
            self.add(reseeded(cases[AMPLIFIES], seed), AMPLIFIES)

    def add_random(self, seed: int) -> None:
        """Run a random decoder, a random network and a random plain layer."""
        rng, dtype = np.random.default_rng(seed), ("float32", "float64")[seed % 2]
        self.add(random_decoder(rng, dtype=dtype), "random")
        self.add(random_case(rng, FEATURES, dtype=dtype), "random")
        self.add(random_case(rng, ("lengths", "no bias"), dtype=dtype), "random")

    @property
    def count(self) -> int:
        """How many runs there were."""
        return sum(map(len, self.runs.values()))

    def table(self) -> Iterator[str]:
        """The distribution of the largest sigma of a run, before copies and as it is judged."""
        counts = ", ".join(f"{len(module.STYLES)} styles of {form}s" for form, module in ALL_FORMS.items())
        yield f"| {counts} | runs | median | 90 % | 99 % | largest | first order alone | by copies | alarms |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for name, runs in self.runs.items():
            judged, first = (np.array([getattr(run, way) for run in runs]) for way in ("judged", "first_order"))
            quantiles = " | ".join(f"{value:.1f}" for value in np.quantile(judged, [0.5, 0.9, 0.99, 1]))
            beyond = [int((array > LIMIT_SIGMA).sum()) for array in (first, judged)]
            yield f"| {name} | {len(runs)} | {quantiles} | {first.max():.1f} | {beyond[0]} | {beyond[1]} |"


def main() -> int:
    """Run random problems and print the table; exit status 1 if anything healthy is accused."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000, help="of all styles together")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options, started, styles = parser.parse_args(), time.perf_counter(), Styles()
    for seed in count(options.first):
        styles.add_random(seed)
        if styles.count >= options.runs:
            break
    print("\n".join([*styles.table(), "", *(f"ALARM {alarm}" for alarm in styles.alarms)]))
    print(f"{styles.count} runs, seeds {options.first} to {seed}, {time.perf_counter() - started:.0f} s")
    return int(bool(styles.alarms))


if __name__ == "__main__":
    sys.exit(main())
