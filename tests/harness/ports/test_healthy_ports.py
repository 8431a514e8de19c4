"""No false alarm: healthy ports in all styles stay within the limit, over many random problems."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
from healthy_ports import STYLES
from lstm_cases import make_case

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.network import expect_steps
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.reference.spread import widened

# Few shapes, many seeds: compiled frameworks compile anew for every shape. T, B, I, H.
SHAPES = [
    (1, 1, 1, 1), (2, 5, 24, 24), (4, 2, 3, 5), (7, 3, 16, 2), (10, 1, 8, 8),
    (13, 4, 5, 11), (18, 2, 1, 17), (24, 1, 24, 3), (30, 2, 12, 24), (30, 3, 4, 4),
]  # fmt: skip
# A compiled framework sees each of these twice at most, once for each dtype.
FAST_SHAPES = [SHAPES[2], SHAPES[3]]

FAST, SLOW = 20, 2000
NAMED = {style.name: style for style in STYLES}
SLOW_GROUPS = {
    "numpy": [s for s in STYLES if s.framework == "numpy" and s.name not in {"Python floats", "NumPy scalars"}],
    "scalars": [NAMED["Python floats"], NAMED["NumPy scalars"]],
    **{name: [s for s in STYLES if s.framework == name] for name in ("torch", "tensorflow", "jax")},
}


def random_problem(seed, shapes=SHAPES):
    """Draw a problem: any weights, inputs, states, lengths, bias; one in five in float64."""
    rng = np.random.default_rng(seed)
    T, B, I, H = shapes[seed % len(shapes)]
    lengths = tuple(int(n) for n in rng.integers(0, T + 1, B)) if rng.random() < 0.5 else None
    bias = bool(rng.random() < 0.9)

    def values(*kinds, low=1.0, high=1.0):
        return Values(kind=str(rng.choice(kinds)), scale=float(np.exp(rng.uniform(np.log(low), np.log(high)))))

    return Problem.from_case(make_case(
        f"random-{seed}", timesteps=T, batch=B, input_size=I, hidden_size=H, lengths=lengths, bias=bias,
        forget_bias=float(rng.choice([0.0, 1.0])) if bias else 0.0,
        dtype="float64" if rng.random() < 0.2 else "float32",
        weights=values("ones", "uniform", "probe", low=0.05, high=20.0),
        inputs=values("ones", "uniform", "probe", "zeros", low=0.3, high=3.0),
        initial_state=values("zeros", "ones", "uniform", "probe", low=0.3, high=3.0),
        seed=int(rng.integers(2**62)),
    ))  # fmt: skip


class Tally(NamedTuple):
    """What a style came to over several problems, in sigma."""

    problems: int = 0
    beyond: int = 0  # how many problems have a value beyond the limit
    values: int = 0
    squares: float = 0.0
    largest: float = 0.0  # over whole sequences
    where: str = ""
    of_a_step: float = 0.0  # over steps, each from the state that the style itself had before

    def __str__(self):
        return (
            f"{self.problems:6}{self.beyond:8}{self.values:10}{self.rms:9.3f}{self.largest:11.4g}{self.of_a_step:8.2f}"
            f"  {self.where}"
        )

    @property
    def rms(self):
        return float(np.sqrt(self.squares / max(self.values, 1)))

    def add(self, problem, expected, found, *, of_one_run):
        """Count one answer; what is not finite is infinitely far away."""
        T, B, _, H = problem.case.shape
        assert all(actual.dtype == problem.x.dtype and actual.shape == (T, B, H) for actual in found)
        ends = np.full(B, T) if problem.lengths is None else problem.lengths
        valid = np.arange(T)[:, None] < ends
        h, c = found
        whole = np.stack([distance(h, expected["h"]), distance(c, expected["c"])])
        if whole.max() > LIMIT_SIGMA:
            wider = widened(problem, expected)
            whole = np.stack([distance(h, wider["h"]), distance(c, wider["c"])])
        alone = 0.0
        if of_one_run:
            steps = expect_steps(problem, Lane(0, reverse=False), {"h": h, "c": c}, None, slice(0, T))
            alone = max(distance(h, steps["h"]).max(), distance(c, steps["c"]).max())
        larger = whole.max() > self.largest
        return Tally(
            problems=self.problems + 1,
            beyond=self.beyond + bool(whole.max() > LIMIT_SIGMA),
            values=self.values + whole[:, valid].size,
            squares=self.squares + float(np.square(whole[:, valid]).sum()),
            largest=float(whole.max()) if larger else self.largest,
            where=problem.case.name if larger else self.where,
            of_a_step=max(self.of_a_step, float(alone)),
        )


def distance(actual, tensor):
    """Sigmas between a value and its expected value; infinitely many if it is not finite."""
    sigma = np.abs((actual - tensor.value) - tensor.rest) / tensor.noise
    return np.where(np.isfinite(sigma), sigma, np.inf).astype(np.float64)


def measured(styles, problems):
    """Run styles over problems; problems of one shape follow each other."""
    tallies = {style.name: Tally() for style in styles}
    for problem in sorted(problems, key=lambda p: (p.case.shape, p.case.run.dtype)):
        expected = expect(problem)
        weights = {"W": problem.W, "R": problem.R, "b": problem.b}
        for style in styles:
            if problem.case.run.dtype in style.dtypes:
                found = style.port(problem.x, weights, problem.h0, problem.c0, problem.lengths)
                tallies[style.name] = tallies[style.name].add(problem, expected, found, of_one_run=style.of_one_run)
    return tallies


@cache
def measured_group(group):
    """Run a group of styles over all problems, once for the tests that ask about it."""
    return measured(SLOW_GROUPS[group], map(random_problem, range(SLOW)))


def skip_without(framework):
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed: pip install lockstep-rnn[all]")


def grouped(name, framework, slow=()):
    """Let a framework's styles run in one worker: it is imported once, and compiles once."""
    marks = [pytest.mark.xdist_group(f"healthy-{framework}"), *([pytest.mark.slow] if name in slow else [])]
    return pytest.param(name, marks=marks, id=name)


# Each compiles anew: the suite has one of JAX.
SLOW_STYLES = {"jax eager", "jax fori_loop", "jax vmap of scan"}


@pytest.mark.parametrize("name", [grouped(style.name, style.framework, SLOW_STYLES) for style in STYLES])
def test_a_healthy_style_stays_within_the_limit(name):
    skip_without(NAMED[name].framework)
    shapes = SHAPES if NAMED[name].framework == "numpy" else FAST_SHAPES
    tally = measured([NAMED[name]], (random_problem(seed, shapes) for seed in range(FAST)))[name]
    assert tally.largest <= LIMIT_SIGMA, tally
    assert tally.of_a_step <= LIMIT_SIGMA, tally


groups = pytest.mark.parametrize("group", [grouped(group, group) for group in SLOW_GROUPS])


@pytest.mark.slow
@groups
def test_every_step_of_a_healthy_style_stays_within_the_limit_over_many_problems(group):
    skip_without("numpy" if group == "scalars" else group)
    tallies = measured_group(group)
    rows = [f"{name:28}{tally}" for name, tally in sorted(tallies.items(), key=lambda item: -item[1].largest)]
    head = f"{'style':28}{'runs':>6}{'beyond':>8}{'values':>10}{'rms':>9}{'largest':>11}{'a step':>8}  largest in"
    print("\n".join([head, *rows]))  # noqa: T201
    assert max(tally.of_a_step for tally in tallies.values()) <= LIMIT_SIGMA


@pytest.mark.slow
@groups
def test_whole_sequences_of_healthy_styles_stay_within_the_limit_over_many_problems(group):
    skip_without("numpy" if group == "scalars" else group)
    assert max(tally.largest for tally in measured_group(group).values()) <= LIMIT_SIGMA
