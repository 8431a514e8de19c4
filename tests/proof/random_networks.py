"""Random cases by a generator of NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.random_cases import MOST_SEED, RANDOM_FEATURES, choose_by, draw_case, draw_decoder


def random_decoder(rng: np.random.Generator, **fixed: Any) -> Case:
    """Draw an attention decoder; each feature is there in every third one, so that most combinations have few."""
    return draw_decoder(choose_by(rng), int(rng.integers(MOST_SEED)), fixed)


def random_case(rng: np.random.Generator, features: Sequence[str] = tuple(RANDOM_FEATURES), **fixed: Any) -> Case:
    """Draw a case, likewise."""
    return draw_case(choose_by(rng), int(rng.integers(MOST_SEED)), fixed, features)
