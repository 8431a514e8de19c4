"""Prove the noise of numbers that are stored in few bits: ``python tests/proof/quantised.py [--write docs/noise.md]``.

Random float32 networks, each with several seeds, through every backend that says how it stores numbers and is
installed. It fails where one is called divergent, or where the root mean square of sigma in a row leaves the bounds of
the proof: a model of noise that is alarming, or blind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from agreement import prove, table, write
from msgspec.structs import replace
from random_networks import random_case

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.random_cases import MOST_SEED

# A network has each one in three times.
PLAIN = ("layers", "bidirectional", "initial state", "lengths")  # what all of them have
FEATURES = (*PLAIN, "reverse", "peephole", "hard sigmoid 0.2 z", "activations", "coupling", "no bias")
BEGIN, END = "<!-- proof of quantised: written by nox -s quantised -->", "<!-- end of proof of quantised -->"


def main() -> int:
    """Run the proof and print its tables; exit status 1 if a row is not as it must be."""
    options = _options()
    backends = [backend for backend in find_backends(options.backend) if backend.quantised and not backend.missing()]
    cases = list(random_networks(options.structures, options.seeds, options.seed))
    rows, alarms = prove(cases, backends)
    of_backends = {(name, ""): row for (kind, name), row in rows.items() if kind == "backend"}
    lines = [
        f"{len(cases)} random float32 configurations, {sum(row.runs for row in of_backends.values())} runs.",
        "",
        *table("Feature and storage", {key: row for key, row in rows.items() if key[0] != "backend"}),
        "",
        *table("Backend", of_backends),
    ]
    sys.stdout.write("\n".join([*lines, "", *(f"ALARM {alarm}" for alarm in alarms)]) + "\n")
    if options.write:
        write(options.write, lines, BEGIN, END)
    return int(bool(alarms) or not all(row.sound for row in rows.values()))


def random_networks(structures: int, seeds: int, seed: int) -> Iterator[Case]:
    """Draw networks, every second one of what all backends have, and for each several seeds."""
    rng = np.random.default_rng(seed)
    for n in range(structures):
        case = random_case(rng, FEATURES if n % 2 else PLAIN, dtype="float32")
        for k in range(seeds):
            run = replace(case.run, seed=int(rng.integers(MOST_SEED)))
            yield replace(case, run=run, name=f"random-{n}-{k}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", action="append", help="a backend to run, may be repeated; else all")
    parser.add_argument("--structures", type=int, default=200, help="networks")
    parser.add_argument("--seeds", type=int, default=10, help="problems of each network")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of networks")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
