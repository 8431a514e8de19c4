"""The reference, against an independent one in fifty decimal digits, and its noise against real rounding."""

from __future__ import annotations

from decimal import Decimal, localcontext
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from examples import share_of_examples
from hypothesis import given
from lstm_cases import cases, make_case
from values_alone import forward

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.reference.activations import ACTIVATIONS
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.network import expect_steps
from lockstep.harness.reference.noise import Noise

CASES = Path(str(files("lockstep.cases")))


def decimal_lstm(problem):
    """The recurrence, number by number, in fifty digits; nothing in common with the reference."""
    T, B, _, H = problem.case.shape

    def exact(array):
        return np.vectorize(lambda v: Decimal(float(v)), otypes=[object])(array)

    def sigmoid(z):
        return 1 / (1 + (-z).exp())

    def tanh(z):
        return (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())

    W, R, b, x, h0, c0 = (exact(getattr(problem, name)) for name in ("W", "R", "b", "x", "h0", "c0"))
    found = {name: np.empty((T, B, H), object) for name in "ifgoch"}
    for n in range(B):
        h, c = list(h0[n]), list(c0[n])
        for t in range(T):
            z = [sum(W[k] * x[t, n]) + sum(R[k] * np.array(h)) + b[k] for k in range(4 * H)]
            past = problem.lengths is not None and t >= problem.lengths[n]
            for unit in range(H):
                i, f, o = (sigmoid(z[unit + gate * H]) for gate in (0, 1, 3))
                g = tanh(z[unit + 2 * H])
                if past:
                    values = dict.fromkeys("ifgoh", Decimal(0)) | {"c": c[unit]}
                else:
                    c[unit] = f * c[unit] + i * g
                    h[unit] = o * tanh(c[unit])
                    values = {"i": i, "f": f, "g": g, "o": o, "c": c[unit], "h": h[unit]}
                for name, value in values.items():
                    found[name][t, n, unit] = value
    return found


def test_a_number_that_a_dtype_hardly_tells_from_a_corner_may_lie_on_either_side_of_it():
    """Found by a campaign: a relu of 1e-8 is one of 0 in float16, with no slope."""
    relu, a = ACTIVATIONS["relu"], np.array([0.0, 1e-8, 1.7e-7, 3e-7, 1.0])
    for dtype, doubtful in (("float16", [0, 1, 1, 0, 0]), ("float32", [0, 0, 0, 0, 0])):
        noise = Noise.of(dtype)
        assert relu.slope_variance(a, np.full(5, noise.floor), noise).tolist() == doubtful, dtype


@pytest.mark.parametrize(
    "settings",
    [{}, {"lengths": (2, 4)}, {"initial_state": "probe", "seed": 3}, {"weights": Values(kind="probe", scale=9.0)}],
    ids=["plain", "lengths", "state", "saturated"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_gives_what_fifty_decimal_digits_give(dtype, settings):
    problem = Problem.from_case(make_case(dtype=dtype, timesteps=4, hidden_size=3, **settings))
    with localcontext() as context:
        context.prec = 50
        exact = decimal_lstm(problem)
    found, expected = forward(problem), expect(problem)
    bound = 40 * np.finfo(Noise.of(dtype).precision).eps
    for name, values in exact.items():
        true = np.vectorize(lambda d: np.longdouble(str(d)), otypes=[np.longdouble])(values)
        assert np.abs(found[name] - true).max() < bound
        # Split in two floats of the dtype, the expected value keeps twice the dtype's digits.
        split = expected[name].value.astype(np.longdouble) + expected[name].rest
        assert np.abs(split - true).max() < bound + np.finfo(dtype).eps ** 2


def test_the_questions_numbers_come_out():
    expected = expect(Problem.from_case(load_case(CASES / "ones.toml")))
    np.testing.assert_allclose(expected["h"].value[:, 0, 0], [0.7536526, 0.9631945, 0.9948382], atol=5e-7)
    np.testing.assert_allclose(expected["c_n"].value, 2.9925175, atol=5e-7)


@given(cases())
@share_of_examples(2)
def test_values_alone_and_values_with_noise_are_the_same(case):
    problem = Problem.from_case(case)
    alone, expected = forward(problem), expect(problem)
    assert list(alone) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(
            tensor.value.astype(np.longdouble) + tensor.rest, alone[name], rtol=1e-14, atol=1e-30
        )


def test_many_timesteps_are_computed_like_few():
    """Timesteps are stored in chunks: neither their number nor a remainder shows."""
    long = expect(Problem.from_case(make_case(timesteps=75, weights="uniform")))
    for timesteps in (1, 31, 32, 33, 64):
        problem = Problem.from_case(make_case(timesteps=75, weights="uniform"))
        short = Problem.plain(
            make_case(timesteps=timesteps, weights="uniform"),
            problem.W, problem.R, problem.b, problem.x[:timesteps].copy(), problem.h0, problem.c0,
        )  # fmt: skip
        found = expect(short)
        np.testing.assert_array_equal(found["h"].value, long["h"].value[:timesteps])
        np.testing.assert_array_equal(found["c"].noise, long["c"].noise[:timesteps])
        np.testing.assert_array_equal(found["h_n"].value, long["h"].value[timesteps - 1])


@given(cases())
@share_of_examples(2)
def test_noise_is_never_zero_nor_more_than_the_range_allows(case):
    for name, tensor in expect(Problem.from_case(case)).items():
        assert (tensor.noise > 0).all()
        assert np.isfinite(tensor.noise).all()
        if name not in {"c", "c_n"}:
            assert tensor.noise.max() <= 1


def test_noise_stays_finite_in_a_chaotic_network_over_ten_thousand_steps():
    case = make_case(timesteps=10_000, batch=1, weights=Values(kind="probe", scale=12.0))
    expected = expect(Problem.from_case(case))
    assert all(np.isfinite(tensor.noise).all() for tensor in expected.values())
    assert expected["h"].noise.max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_in_the_input_does_not_make_noise_infinite(bad):
    problem = Problem.from_case(make_case(timesteps=6))
    x = problem.x.copy()
    x[2, 0, 1] = bad
    broken = Problem.plain(problem.case, problem.W, problem.R, problem.b, x, problem.h0, problem.c0)
    expected, healthy = expect(broken), expect(problem)
    for name in "ifgoh":
        assert (expected[name].noise <= 1).all()
    # The other sequence, and the steps before, know nothing of it.
    np.testing.assert_array_equal(expected["h"].value[:2], healthy["h"].value[:2])
    np.testing.assert_array_equal(expected["h"].value[:, 1], healthy["h"].value[:, 1])


def one_step(problem, expected, steps):
    """Each of some timesteps alone, from the expected states."""
    return expect_steps(problem, Lane(0, reverse=False), {name: expected[name].value for name in "hc"}, None, steps)


@given(cases())
@share_of_examples(2)
def test_one_step_from_the_expected_state_is_the_expected_step(case):
    problem = Problem.from_case(case)
    expected = expect(problem)
    if problem.lengths is not None:
        return  # h is 0 past an end, and no state to start from: covered below
    T = case.run.timesteps
    steps = one_step(problem, expected, slice(0, T))
    for name in "ch":
        difference = np.abs(steps[name].value.astype(np.float64) - expected[name].value)
        assert (difference <= 10 * expected[name].noise).all()


def test_one_step_past_the_end_of_a_sequence_keeps_the_state():
    problem = Problem.from_case(make_case(timesteps=5, lengths=(2, 4), initial_state="probe"))
    expected = expect(problem)
    steps = one_step(problem, expected, slice(2, 5))
    assert not steps["h"].value[:, 0].any()
    np.testing.assert_array_equal(steps["c"].value[:, 0], np.broadcast_to(expected["c"].value[1, 0], (3, 4)))


def healthy(problem, style):
    """One of several healthy ways to compute an LSTM in the case's dtype."""
    p, dtype = problem, problem.x.dtype.type
    W, R, b, order = p.W, p.R, p.b, slice(None)
    if style == "sums backwards":
        order = slice(None, None, -1)
    one, half, two = dtype(1), dtype(0.5), dtype(2)

    def sigmoid(z):
        return half * (one + np.tanh(half * z)) if style == "tanh form" else one / (one + np.exp(-z))

    def tanh(z):
        return two / (one + np.exp(-two * z)) - one if style == "sigmoid form" else np.tanh(z)

    h, c, hs, cs = p.h0, p.c0, [], []
    fused = np.concatenate([W, R], axis=1)
    projected = p.x @ W.T + b
    for t, x_t in enumerate(p.x):
        if style == "fused":
            z = np.concatenate([x_t, h], axis=1) @ fused.T + b
        elif style == "projected before":
            z = projected[t] + h @ R.T
        elif style == "one by one":
            z = b + sum(x_t[:, k, None] * W[:, k] for k in range(W.shape[1]))
            z = z + sum(h[:, k, None] * R[:, k] for k in range(R.shape[1]))
        else:
            z = x_t[:, order] @ W[:, order].T + h[:, order] @ R[:, order].T + b
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        hs.append(h)
        cs.append(c)
    return {"h": np.stack(hs), "c": np.stack(cs)}


STYLES = ["plain", "fused", "projected before", "one by one", "sums backwards", "tanh form", "sigmoid form"]


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_healthy_implementations_stay_within_the_noise_and_fill_it(dtype, scale):
    """No false alarm at 10 sigma, and a root mean square near 1: the limit is neither tight nor loose."""
    squares, largest = [], 0.0
    for seed in range(12):
        T, I, H = [(20, 5, 8), (60, 3, 3), (8, 40, 33)][seed % 3]
        case = make_case(
            timesteps=T, batch=3, input_size=I, hidden_size=H, dtype=dtype, seed=seed, initial_state="probe",
            weights=Values(kind="probe" if seed % 2 else "uniform", scale=scale),
        )  # fmt: skip
        problem = Problem.from_case(case)
        expected = expect(problem)
        for style in STYLES:
            with np.errstate(over="ignore"):
                found = healthy(problem, style)
            for name, values in found.items():
                tensor = expected[name]
                assert values.dtype == dtype
                sigma = np.abs((values - tensor.value) - tensor.rest) / tensor.noise
                largest = max(largest, float(sigma.max()))
                squares.append(np.square(sigma, dtype=np.float64).mean())
    assert largest < 8
    assert 0.05 < np.sqrt(np.mean(squares)) < 1.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_change_of_a_few_roundings_in_one_weight_is_seen(dtype):
    """The other side of the limit: it is not loose either."""
    problem = Problem.from_case(make_case(dtype=dtype, timesteps=20))
    W = problem.W.copy()
    W[0, 0] *= 1 + 200 * np.finfo(dtype).eps
    changed = Problem.plain(problem.case, W, problem.R, problem.b, problem.x, problem.h0, problem.c0)
    expected = expect(problem)["h"]
    assert (np.abs(forward(changed)["h"] - expected.value - expected.rest) / expected.noise).max() > 10
