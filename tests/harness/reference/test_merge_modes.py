"""Merged directions: what a bidirectional layer gives of both, its gradients, and what is told where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow
from judge import causes_of
from lstm_cases import make_case
from numpy.testing import assert_allclose, assert_array_equal
from port_answers import answers
from random_networks import random_case

from lockstep.backends import numpy_loop, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case_file import case_from_data
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.diagnosis.anatomy.lane_box import measurable
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import first_wrong_text
from lockstep.harness.errors import CaseError
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.output.messages import headline
from lockstep.harness.ports.port import LocalPort
from lockstep.harness.reference.expect import expect

MODES = ("sum", "mul", "ave")
MERGES = {"sum": lambda f, r: f + r, "mul": lambda f, r: f * r, "ave": lambda f, r: (f + r) / 2}
SIZES = {"timesteps": 6, "batch": 3, "input_size": 4, "hidden_size": 5, "initial_state": "probe"}


def merged(mode, **settings):
    return make_case("merged", direction="bidirectional", merge_mode=mode, **{**SIZES, **settings})


# The case


def test_merging_is_about_both_directions():
    with pytest.raises(CaseError, match='merge_mode = "sum" is about both directions: set direction = "bidirectional"'):
        case_from_data({"lstm": {"input_size": 2, "hidden_size": 3, "merge_mode": "sum"}, "run": {"timesteps": 2}}, "x")


def test_the_layer_above_takes_in_as_much_as_one_direction_gives():
    case = merged("sum", num_layers=2, proj_size=3)
    assert [case.lstm.input_size_of(layer) for layer in (0, 1)] == [4, 3]
    assert case.natural_shape("h") == (6, 3, 3)
    assert Problem.from_case(case).weights[1][1].W.shape == (20, 3)
    names = list(tensors_of(case))
    assert names[-1] == "h"  # beside those of the lanes, and after them
    assert {"h_l1", "h_l1_reverse", "c_l0"} <= set(names)
    assert "h" not in tensors_of(make_case(direction="bidirectional"))


def test_random_networks_merge_directions_and_only_where_there_are_two():
    rng = np.random.default_rng(0)
    drawn = [random_case(rng, ("bidirectional", "merged directions")).lstm for _ in range(40)]
    assert {lstm.merge_mode for lstm in drawn} == {"concat", *MODES}
    assert all(lstm.direction == "bidirectional" for lstm in drawn if lstm.merged)
    assert not random_case(rng, ("merged directions",), direction="reverse").lstm.merged


# The reference


@pytest.mark.parametrize("mode", MODES)
def test_h_is_made_of_both_directions_in_the_order_of_time(mode):
    case = merged(mode, dtype="float64", lengths=(6, 2, 0))
    expected = expect(Problem.from_case(case))
    made = MERGES[mode](expected["h_l0"].value, expected["h_l0_reverse"].value)
    assert_allclose(expected["h"].value, made, rtol=1e-14)
    assert (expected["h"].value[2:, 1] == 0).all()
    apart = [key for key in expected if key != "h"]
    both = expect(
        Problem.from_case(make_case("both", direction="bidirectional", dtype="float64", lengths=(6, 2, 0), **SIZES))
    )
    for name in apart:
        assert_array_equal(expected[name].value, both[name].value)


@pytest.mark.xdist_group("torch")
@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_autograd(mode):
    torch = pytest.importorskip("torch", reason="install the extra torch")
    problem = Problem.from_case(merged(mode, num_layers=2, dtype="float64", gradients=True))
    x = torch.tensor(problem.x, requires_grad=True)
    states = [torch.tensor(problem.states(name), requires_grad=True) for name in ("h0", "c0")]
    below, finals, layers = x, [], []
    for k, lanes in enumerate(problem.weights):
        lstm = torch.nn.LSTM(below.shape[-1], 5, bidirectional=True, dtype=torch.float64)
        for side, weights in zip(("", "_reverse"), lanes, strict=True):
            stored = {"weight_ih": weights.W, "weight_hh": weights.R, "bias_ih": weights.b, "bias_hh": 0 * weights.b}
            for name, array in stored.items():
                getattr(lstm, f"{name}_l0{side}").data = torch.tensor(array)
        outputs, (_, c_n) = lstm(below, tuple(state[2 * k : 2 * k + 2] for state in states))
        below = MERGES[mode](*outputs.chunk(2, dim=-1))
        finals.append(c_n)
        layers.append(lstm)
    loss = (below * torch.tensor(problem.dh)).sum() + (torch.cat(finals) * torch.tensor(problem.states("dc"))).sum()
    loss.backward()
    expected = expect(problem)
    assert_allclose(x.grad, expected["dx"].value, rtol=1e-10, atol=1e-12)
    for k, lstm in enumerate(layers):
        for side in ("", "_reverse"):
            for name, kind in (("weight_ih", "dW"), ("weight_hh", "dR"), ("bias_hh", "db")):
                actual = getattr(lstm, f"{name}_l0{side}").grad
                assert_allclose(actual, expected[f"{kind}_l{k}{side}"].value, rtol=1e-10, atol=1e-12)
            assert_allclose(states[0].grad[2 * k + bool(side)], expected[f"dh0_l{k}{side}"].value, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_a_plain_loop_agrees_forward_and_backward(mode, dtype):
    problem = Problem.from_case(merged(mode, num_layers=2, dtype=dtype, lengths=(6, 2, 0), gradients=True))
    problems = Problems()
    problems.put(problem)
    run = Judge(problems).judge_trace(problem.case, "numpy_loop", numpy_loop.run(problem))
    assert run.status == "agree"
    assert {"h", "h_l0_reverse", "dW_l0", "dx"} <= run.tensors.keys()
    assert {name for name in run.local.sigma if name.startswith("h")} == {  # each step of the layer above alone, too
        "h_l0", "h_l0_reverse", "h_l1", "h_l1_reverse",
    }  # fmt: skip


def test_what_puts_directions_side_by_side_refuses_to_merge_them():
    assert refusals.of(refusals.side_by_side(merged("ave").lstm, "nn.LSTM")) == (
        'nn.LSTM does not merge its directions (merge_mode = "ave")'
    )
    assert refusals.of(refusals.side_by_side(make_case(direction="bidirectional").lstm, "nn.LSTM")) is None


# Ports


def network(merge, between=None, *, turned_back=True):
    """A port of layers whose directions are merged; ``between``: how between layers, where that is another way."""

    def port(x, weights, h0, c0):
        h_n, c_n = [], []
        for k, layer in enumerate(weights):
            sides = []
            for reverse, lane in enumerate(layer):
                h, c, hs = h0[len(h_n)], c0[len(h_n)], []
                for x_t in x[::-1] if reverse else x:
                    i, f, g, o = np.split(x_t @ lane["W"].T + h @ lane["R"].T + lane["b"], 4, axis=-1)
                    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                    h = sigmoid(o) * np.tanh(c)
                    hs.append(h)
                sides.append(np.stack(hs[::-1] if reverse and turned_back else hs))
                h_n.append(h)
                c_n.append(c)
            x = (merge if between is None or k + 1 == len(weights) else between)(*sides)
        return x, np.stack(h_n), np.stack(c_n)

    return LocalPort(port)


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


@pytest.mark.parametrize("mode", MODES)
def test_a_healthy_port_agrees(mode):
    (run,) = check(network(MERGES[mode]), [merged(mode, num_layers=2)])
    assert run.status == "agree"
    assert "h" in run.tensors
    assert "h_l1" not in run.tensors


@pytest.mark.parametrize(
    ("mode", "layers", "port", "message"),
    mostly_slow(
        [
            ("ave", 1, network(MERGES["sum"]), "The directions are summed where they are averaged."),
            ("sum", 1, network(MERGES["ave"]), "The directions are averaged where they are summed."),
            ("sum", 2, network(MERGES["mul"]), "The directions are multiplied where they are summed."),
            ("sum", 1, network(np.maximum), "The directions are reduced to their maximum where they are summed."),
            (
                "ave",
                1,
                network(lambda f, r: f),
                "The directions are replaced by the forward one where they are averaged.",
            ),
            (
                "ave",
                2,
                network(MERGES["ave"], MERGES["sum"]),
                "Between layers the directions are summed where they are av",
            ),
            (
                "sum",
                2,
                network(MERGES["ave"], MERGES["sum"]),
                "In what is returned the directions are averaged where they",
            ),
        ],
        every=4,
        names=4,
    ),
)
def test_a_wrong_merge_is_named(mode, layers, port, message):
    cases = [merged(mode, num_layers=layers), merged(mode, num_layers=layers, seed=5, timesteps=4)]
    first, *_ = causes_of(check(port, [cases[0]]))
    assert first.message.startswith(message), first.message
    assert first.fix.startswith("Merge the directions as the case's merge_mode has it")
    assert first.sigma is not None


def test_a_reverse_direction_that_is_not_turned_back_is_named_where_directions_are_added():
    first, *_ = causes_of(check(network(MERGES["sum"], turned_back=False), [merged("sum")]))
    assert "turned back" in first.message, first.message


def test_where_a_merged_output_first_diverges_belongs_to_no_layer():
    problem = Problem.from_case(merged("ave"))
    results, problems = answers(problem), Problems()
    problems.put(problem)
    trace = Trace(h=results["h_seq"] + np.float32(0.01), h_n=results["h_n"], c_n=results["c_n"])
    run = Judge(problems).judge_trace(problem.case, "port", trace)
    assert headline(run).endswith('in case "merged" at timestep 0 of 6 of the output of both directions.')
    told = first_wrong_text(Observation(problem, trace.tensors(problem.case)), problems.expected(problem.case))
    assert told[1].startswith("first wrong: h at timestep 0")


def test_lanes_behind_a_merged_output_are_not_measured_and_it_is_told_why():
    assert "directions are merged" in measurable(merged("sum").lstm)


def test_directions_side_by_side_are_told_from_a_merged_output():
    concatenated = network(lambda f, r: np.concatenate([f, r], axis=-1))
    (run,) = check(concatenated, [merged("ave")])
    assert run.message == (
        "h_seq has shape (6, 3, 10), expected (T, B, H) = (6, 3, 5): directions side by side? the case has "
        "merge_mode = ave"
    )
