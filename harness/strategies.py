"""Hypothesis strategies for tests of one's own: random cases over the whole space of LSTMs.

    from hypothesis import given
    from lockstep import assert_agrees
    from lockstep.harness.strategies import cases, seeds

    @given(case=cases(features=["lengths"], dtype="float32"))
    def test_my_port_agrees(case):
        ...

Shapes are few and seeds many, since compiled frameworks compile anew for every shape. Shrinking leads to few features,
the first shape and plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.random_cases import (
    MOST_SEED,
    RANDOM_DECODER_FEATURES,
    RANDOM_FEATURES,
    draw_case,
    draw_decoder,
)

__all__ = ["cases", "decoders", "seeds"]


def seeds() -> st.SearchStrategy[int]:
    """Draw seeds of cases."""
    return st.integers(0, MOST_SEED)


def cases(*, features: Sequence[str] | None = None, **settings: Any) -> st.SearchStrategy[Case]:
    """Draw cases, with settings of the tables [lstm] and [run] that every one has, such as ``dtype="float32"``.

    ``features`` are what a case may have beyond one forward layer of the standard cell: names of
    ``harness.cases.random_cases.RANDOM_FEATURES``; all of them if left out.

    Raises:
        ValueError: If there is no such feature.
    """
    return _drawn(draw_case, RANDOM_FEATURES if features is None else features, RANDOM_FEATURES, settings)


def decoders(*, features: Sequence[str] = RANDOM_DECODER_FEATURES, **settings: Any) -> st.SearchStrategy[Case]:
    """Draw cases of attention decoders, with settings as of ``cases``.

    ``features`` are what a case may have: names of ``harness.cases.random_cases.RANDOM_DECODER_FEATURES``.

    Raises:
        ValueError: If there is no such feature.
    """
    return _drawn(draw_decoder, features, RANDOM_DECODER_FEATURES, settings)


def _drawn(
    make: Callable[..., Case], features: Iterable[str], known: Iterable[str], settings: dict[str, Any]
) -> st.SearchStrategy[Case]:
    features, known = tuple(features), tuple(known)
    unknown = [name for name in features if name not in known]
    if unknown:
        raise ValueError(f"no feature is called {unknown[0]!r}. There are: {', '.join(known)}")

    # One strategy for a whole case: what Hypothesis shrinks are its choices, each towards the first option.
    @st.composite
    def drawn(draw: st.DrawFn) -> Case:
        return make(lambda name, options: draw(st.sampled_from(options)), draw(seeds()), settings, features)

    return drawn()
