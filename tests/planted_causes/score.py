# ruff: noqa: T201, FBT002 (a script)
"""What is detected and explained of the planted slips: by kind."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from decoder_cases import make_decoder  # noqa: E402
from lstm_cases import make_case  # noqa: E402
from slipping_ports import backward, decoder, network  # noqa: E402
from slips import DECODERS, GRADIENTS, NETWORKS  # noqa: E402

from lockstep.harness.cases.decoder_problem import problem_of  # noqa: E402
from lockstep.harness.cases.tensors import split  # noqa: E402
from lockstep.harness.diagnosis.observation import Observation  # noqa: E402


def observed(problem, arrays):
    tensors = {name: array.astype(np.float32) for name, array in arrays.items()}
    return Observation(problem, split(tensors, problem.case) if problem.case.attention_decoder is None else tensors)


def planted():
    """(kind, name, observations, words) of each slip: two cases of other sizes and numbers."""
    for name, (kind, settings, slip, words) in NETWORKS.items():
        seen = []
        for seed, sizes in ((3, {"hidden_size": 4, "input_size": 3}), (4, {"hidden_size": 5, "input_size": 2})):
            case = make_case(
                f"{seed}", seed=seed, timesteps=5, batch=3, initial_state="probe",
                **(sizes | settings | ({"input_size": sizes["hidden_size"]} if "input_size" in settings else {})),
            )  # fmt: skip
            problem = problem_of(case)
            seen.append(observed(problem, network(problem, slip)))
        yield kind, name, seen, words
    for name, words in GRADIENTS.items():
        seen = []
        for seed, (B, H, T) in ((5, (2, 3, 4)), (6, (3, 4, 5))):
            case = make_case(
                f"{seed}", seed=seed, timesteps=T, batch=B, hidden_size=H, gradients=True, initial_state="probe"
            )
            problem = problem_of(case)
            seen.append(observed(problem, backward(problem, {name})))
        yield "gradients", name, seen, words
    for name, (settings, slip, words) in DECODERS.items():
        seen = []
        for seed, sizes in ((7, {"hidden_size": 4}), (8, {"hidden_size": 4, "input_size": 5})):
            problem = problem_of(make_decoder(f"{seed}", seed=seed, **(sizes | settings)))
            seen.append(observed(problem, decoder(problem, slip)))
        yield "decoders", name, seen, words


def right(fault, words):
    return any(all(word in fault for word in every) for every in words)


def score(explain, only=None, verbose=True):
    counts, times = defaultdict(Counter), []
    for kind, name, seen, words in planted():
        if only and only not in (kind, name):
            continue
        start = time.perf_counter()
        found = explain(seen)
        times.append(time.perf_counter() - start)
        wrong = any(not o.distance(o.expected, None) <= 10 for o in seen)
        verdict = "unexplained" if not found else "right" if right(found[0].fault, words) else "other name"
        counts[kind].update([verdict, "planted", *(["detected"] if wrong else [])])
        if verbose:
            faults = [one.fault for one in found[:3]]
            print(f"{kind:14} {name:40} {verdict:12} {times[-1]:5.1f} s  {faults}", flush=True)
    for kind, own in counts.items():
        print(kind, dict(own))
    print(
        "time: median",
        round(float(np.median(times)), 2),
        "90 %",
        round(float(np.quantile(times, 0.9)), 2),
        "max",
        round(max(times), 2),
    )


if __name__ == "__main__":
    from lockstep.harness.diagnosis.explain_causes import explain

    score(explain)
