"""Look for findings: ``python tests/proof/search.py [--backend NAME] [--runs N] [--minutes M]``.

Random networks and decoders over the whole space of ``harness.cases.random_cases``, forward and backward, through one
backend after
the other, until each has run N configurations; what it refuses, and what is known of it, does not count. A network is
run on several problems, with weights, inputs, states and lengths of their own: what compiles it does so once for all.
What is beyond the limit, fails or dies is printed with its case; of a backend that does little else, the first few.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec.structs import replace
from random_networks import random_case, random_decoder

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.random_cases import DTYPES, MOST_SEED, choose_by, other_problem
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.jobs.findings import expected_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.settings import TIMEOUT

RUNS = 3000  # of each backend
PROBLEMS = 5  # of each network
MOST_REFUSED = 400  # networks in a row that a backend refuses, before it is given up
COLUMNS = (
    "networks", "runs", "gradients", "by copies", "in part", "alarms", "known", "refused", "largest sigma"
)  # fmt: skip
MOST_TOLD = 8  # alarms of one backend that are printed


def main() -> int:
    """Search, and print a line for each backend and one for each alarm; exit status 1 if there is any."""
    options = _options()
    alarms = 0
    print(f"| backend | {' | '.join(COLUMNS)} |")
    print(f"| --- | {' | '.join('---:' for _ in COLUMNS)} |", flush=True)
    for backend in find_backends(options.backend or None):
        missing = backend.missing()
        if missing:
            print(f"{backend.name}: {missing}", file=sys.stderr)
            continue
        alarms += search(backend, options)
    return int(alarms > 0)


def search(backend: BackendInfo, options: argparse.Namespace) -> int:
    """Run random cases through one backend until there were enough, print what came of it, and count the alarms."""
    counts: Counter[str] = Counter()
    largest, told = 0.0, []
    end = time.monotonic() + options.minutes * 60
    with Worker(backend.environment, TIMEOUT) as worker:
        for network in networks(backend.model, options.seed, options.most_timesteps):
            if counts["runs"] >= options.runs or counts["in a row"] >= MOST_REFUSED or time.monotonic() > end:
                break
            ran = False
            for case in with_problems(network, options.problems, options.seed):
                if expected_of(backend.name, case) is not None:
                    counts["known"] += 1
                    continue
                result, amplified, in_part = run(backend, worker, case, network if options.same_weights else case)
                if result.status == "unsupported":
                    counts["refused"] += 1
                    if case.run.lengths is None:
                        break  # what is refused is the network
                    continue
                ran = True
                counts["runs"] += 1
                counts["gradients"] += case.run.gradients
                counts["by copies"] += amplified
                counts["in part"] += in_part
                if result.status != "agree":
                    counts["alarms"] += 1
                    told.append(describe(backend, case, result))
                else:
                    largest = max([largest, *(tensor.worst.sigma for tensor in result.tensors.values())])
            counts["networks"] += ran
            counts["in a row"] = 0 if ran else counts["in a row"] + 1
    row = [*(str(counts[name]) for name in COLUMNS[:-1]), f"{largest:.1f}"]
    print(f"| {backend.name} | {' | '.join(row)} |", flush=True)
    for line in told[:MOST_TOLD]:
        print(line, flush=True)
    return counts["alarms"]


def networks(model: str, seed: int, most_timesteps: int) -> Iterator[Case]:
    """Draw cases of at most so many timesteps without end, the dtypes in turn."""
    rng = np.random.default_rng(seed)
    n = 0
    while True:
        draw = random_decoder if model == "attention_decoder" else random_case
        case = replace(draw(rng, dtype=DTYPES[n % len(DTYPES)]), name=f"random-{n}")
        if case.run.timesteps <= most_timesteps:
            yield case
            n += 1


def with_problems(network: Case, problems: int, seed: int) -> Iterator[Case]:
    """Give a network several problems."""
    rng = np.random.default_rng([seed, network.run.seed])
    for k in range(problems):
        case = other_problem(choose_by(rng), int(rng.integers(MOST_SEED)), network) if k else network
        yield replace(case, name=f"{network.name}-{k}")


def run(backend: BackendInfo, worker: Worker, case: Case, weights: Case) -> tuple[RunResult, bool, bool]:
    """Run a case with the weights of another and judge it; whether it took copies, and was possible in part only."""
    problems = Problems()
    if weights is not case:
        of_weights = problem_of(replace(weights, run=replace(weights.run, lengths=None, resets=None)))
        problems.put(dataclasses.replace(problem_of(case), weights=of_weights.weights))
    answer = worker.run(backend, problems.problem(case))
    result = Judge(problems).judge(case, backend.name, answer)
    by_copies = case in problems._widened
    in_part = by_copies and not all(np.isfinite(tensor.noise).all() for tensor in problems.widened(case).values())
    return result, by_copies, in_part


def describe(backend: BackendInfo, case: Case, result: RunResult) -> str:
    """Tell an alarm with the case that shows it."""
    what = f"{result.first_divergence}" if result.status == "diverge" else (result.message or "").splitlines()[:1]
    return f"ALARM {backend.name}: {result.status} {what} {msgspec.json.encode(case).decode()}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Look for findings in random configurations.")
    parser.add_argument("--backend", action="append", help="a backend to search, may be repeated; else all")
    parser.add_argument("--runs", type=int, default=RUNS, help="random configurations that each runs")
    parser.add_argument("--minutes", type=float, default=30.0, help="at most, for each backend")
    parser.add_argument("--problems", type=int, default=PROBLEMS, help="configurations that share a network")
    parser.add_argument(
        "--same-weights", action="store_true", help="of all problems of a network: for what is converted with them"
    )
    parser.add_argument(
        "--most-timesteps",
        type=int,
        default=sys.maxsize,
        help="of a network: unrolled, long ones take minutes to compile",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the choice of networks")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
