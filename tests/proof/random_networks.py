"""Random cases by a generator of NumPy's, and what a network that is compiled once may be run on anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.random_cases import ALWAYS, MOST_SEED, RANDOM_FEATURES, draw_case, draw_decoder


def other_problem(rng: np.random.Generator, case: Case) -> Case:
    """Draw what a compiled network is run on anew: its seed, weights, inputs, initial states, lengths and resets.

    What compiles it stays: layers, sizes, dtype, activations, the forget bias, and whether there are lengths.
    """
    changes = {
        name: ALWAYS[name][int(rng.integers(len(ALWAYS[name])))] for name in ("weights", "inputs", "initial_state")
    }
    if case.run.lengths is not None:
        decoder = case.attention_decoder
        shortest, longest = (0, case.run.timesteps) if decoder is None else (1, decoder.source_timesteps)
        changes["lengths"] = tuple(int(n) for n in rng.integers(shortest, longest + 1, case.run.batch))
    if case.run.resets is not None:
        lengths = changes.get("lengths", case.run.lengths) or (case.run.timesteps,) * case.run.batch
        rows = zip(rng.random((case.run.batch, case.run.timesteps)) < 1 / 3, lengths, strict=True)
        changes["resets"] = tuple(tuple(map(int, np.flatnonzero(row[:length]))) for row, length in rows)
    return replace(case, run=replace(case.run, seed=int(rng.integers(MOST_SEED)), **changes))


def random_decoder(rng: np.random.Generator, **fixed: Any) -> Case:
    """Draw an attention decoder; each feature is there in every second one."""

    def choose(_: str, options: Sequence[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    return draw_decoder(choose, int(rng.integers(MOST_SEED)), fixed)


def random_case(rng: np.random.Generator, features: Sequence[str] = tuple(RANDOM_FEATURES), **fixed: Any) -> Case:
    """Draw a case; each feature is there in every third one, so that most combinations have few of them."""

    def choose(_: str, options: Sequence[Any]) -> Any:
        if options == (False, True):
            return bool(rng.integers(3) == 0)
        return options[int(rng.integers(len(options)))]

    return draw_case(choose, int(rng.integers(MOST_SEED)), fixed, features)
