"""Cases for tests: one way to make them, and the strategies that draw them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lockstep.harness.cases.case import LSTM, Case, Run

# Few shapes, many seeds: compiled frameworks compile anew for every shape. T, B, I, H.
SHAPES = [(3, 2, 4, 5), (7, 1, 3, 3), (2, 4, 6, 4)]


def make_case(name: str = "test", **settings: Any) -> Case:
    """Make a case; settings of the tables [lstm] and [run] by their own names."""
    lstm = {"input_size": 3, "hidden_size": 4} | {k: v for k, v in settings.items() if k in LSTM.__struct_fields__}
    run = {"timesteps": 5, "batch": 2} | {k: v for k, v in settings.items() if k in Run.__struct_fields__}
    rest = {k: v for k, v in settings.items() if k in {"expect", "tolerance", "description"}}
    return Case(lstm=LSTM(**lstm), run=Run(**run), name=name, **rest)


@st.composite
def cases(draw: st.DrawFn, shapes: list[tuple[int, int, int, int]] = SHAPES) -> Case:
    """Draw plain cases of few shapes and many seeds."""
    T, B, I, H = draw(st.sampled_from(shapes))
    lengths = draw(st.none() | st.lists(st.integers(1, T), min_size=B, max_size=B).map(tuple))
    return make_case(
        timesteps=T,
        batch=B,
        input_size=I,
        hidden_size=H,
        forget_bias=draw(st.sampled_from([0.0, 1.0])),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        weights=draw(st.sampled_from(["probe", "uniform", "ones"])),
        inputs=draw(st.sampled_from(["probe", "uniform", "ones", "zeros"])),
        initial_state=draw(st.sampled_from(["probe", "zeros"])),
        lengths=lengths,
        seed=draw(st.integers(0, 2**63 - 1)),
    )
