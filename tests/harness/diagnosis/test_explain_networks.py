"""Faults of networks and of the way back, planted in an LSTM written apart, are named; a healthy one is not accused."""

from __future__ import annotations

import numpy as np
import plain_lstm
import pytest
from examples import mostly_slow
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import split
from lockstep.harness.comparison.results import First, RunResult
from lockstep.harness.diagnosis.diagnose import diagnose_runs
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED

STACK = {"num_layers": 2, "direction": "bidirectional", "lengths": (4, 2, 1)}
WIDE = {"num_layers": 3, "input_size": 4}  # every layer's weights fit every other
LONE = {"direction": "reverse", "lengths": (4, 2, 1)}
CELL = {"peephole": True, "cell_clip": 0.3, "proj_size": 2}


def seen(name, settings, fault, seed=0, **more):
    """What a run with a fault returned: ``fault`` gives (arrays, case, options of the run, what becomes of results)."""
    problem = Problem.from_case(make_case(name, batch=3, initial_state="probe", seed=seed, **settings, **more))
    arrays, case, options, returned = fault(plain_lstm.complex_arrays(problem), problem.case)
    found = returned(plain_lstm.run(case, arrays, **options), problem)
    if problem.case.lstm.single:
        found = {name: array[0] if name.endswith("_n") else array for name, array in found.items()}
    tensors = {name: array.real.astype(problem.x.dtype) for name, array in found.items()}
    return Observation(problem, split(tensors, problem.case))


def same(found, _problem):
    return found


def ways(**options):
    return lambda arrays, case: (arrays, case, options, same)


def weights(change):
    return lambda arrays, case: (change(arrays, case.lstm), case, {}, same)


def setting(**changes):
    return lambda arrays, case: (arrays, replace(case, lstm=replace(case.lstm, **changes)), {}, same)


def returned(change):
    return lambda arrays, case: (arrays, case, {}, change)


def forwards(_timesteps, length):
    return list(range(length))


def from_the_end(timesteps, length):
    return [timesteps - 1 - t for t in range(length)]


def no_lengths(arrays, case):
    return arrays, replace(case, run=replace(case.run, lengths=None)), {}, same


def directions_exchanged(arrays, _lstm):
    def other(name):
        return name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"

    return {name: arrays[other(name)] if "_l" in name else array for name, array in arrays.items()}


def layers_share(arrays, _lstm):
    return {name: arrays[name[: name.index("_l")] + "_l0"] if "_l" in name else a for name, a in arrays.items()}


def layers_reversed(arrays, lstm):
    last = lstm.num_layers - 1
    return {
        name: arrays[f"{name[:-1]}{last - int(name[-1])}"] if "_l" in name else array for name, array in arrays.items()
    }


def blocks(order):
    def change(arrays, _lstm):
        def read(array):
            parts = np.split(array, 4)
            return np.concatenate([parts[order.index(gate)] for gate in "ifgo"])

        return {name: read(array) if name[0] in "WRb" else array for name, array in arrays.items()}

    return change


def forget_bias(times):
    def change(arrays, lstm):
        H = lstm.hidden_size
        add = np.repeat([0, (times - 1) * lstm.forget_bias, 0, 0], H)
        return {name: array + add if name[0] == "b" else array for name, array in arrays.items()}

    return change


def each(name, change):
    return weights(lambda arrays, lstm: {key: change(a) if key[0] == name else a for key, a in arrays.items()})


def last_output_as_final(found, problem):
    P = problem.case.lstm.output_size
    h_n = found["h_n"].copy()
    h_n[-1] = found["h"][-1, :, -P:]
    return found | {"h_n": h_n}


def finals_by_direction(found, _problem):
    order = [0, 2, 1, 3]
    return found | {name: found[name][order] for name in ("h_n", "c_n")}


FORWARD = {
    "turn:not": (STACK, ways(taken=forwards, put=forwards)),
    "turn-out:within-and-not": (STACK, ways(put=forwards)),
    "turn:whole": (LONE, ways(taken=from_the_end, put=from_the_end)),
    "turn-out:within-and-whole": (LONE, ways(put=from_the_end)),
    "all-weights-of-lanes:directions-exchanged": (STACK, weights(directions_exchanged)),
    "joined:exchanged": (STACK, ways(joined=lambda parts: parts[::-1])),
    "all-weights-of-lanes:those-of-the-first-layer-that-fits": (WIDE, weights(layers_share)),
    "all-weights-of-lanes:layers-from-the-top-down": (WIDE, weights(layers_reversed)),
    "lengths:ignored": (STACK, no_lengths),
    "all-h0-and-c0:zero": (STACK, weights(lambda arrays, lstm: arrays | {n: 0 * arrays[n] for n in ("h0", "c0")})),
    "all-h0-and-c0:by-direction": (
        STACK, weights(lambda arrays, lstm: arrays | {n: arrays[n][[0, 2, 1, 3]] for n in ("h0", "c0")}),
    ),
    "h0-and-c0:exchanged": (
        LONE, weights(lambda arrays, lstm: arrays | {"h0": arrays["c0"], "c0": arrays["h0"]}),
    ),
    "finals:by-direction": (STACK, returned(finals_by_direction)),
    "h_n:output-of-the-last-timestep@0r": (
        {"direction": "bidirectional", "lengths": (5, 5, 4)}, returned(last_output_as_final),
    ),
    "clip:none": (CELL, setting(cell_clip=None)),
    "p:left-out": (CELL, each("p", lambda p: 0 * p)),
    "p:read-as-iof": (CELL, each("p", lambda p: p[[0, 2, 1]])),
    "coupling-of-f:not-coupled": ({"input_forget": True, "forget_bias": 0.0}, setting(input_forget=False)),
    "coupling-of-f:1---i": ({"num_layers": 2}, setting(input_forget=True, forget_bias=0.0)),
    "curve-of-gates:sigmoid": (
        {"recurrent_activation": "hard_sigmoid_1/6"}, setting(recurrent_activation="sigmoid"),
    ),
    "curve-of-gates:hard_sigmoid_0.2": (
        {"recurrent_activation": "hard_sigmoid_1/6"}, setting(recurrent_activation="hard_sigmoid_0.2"),
    ),
    "curve-of-g:tanh": ({"activation": "relu", "cell_activation": "relu"}, setting(activation="tanh")),
    "curve-of-g-and-u:tanh": (
        {"activation": "relu", "cell_activation": "relu"}, setting(activation="tanh", cell_activation="tanh"),
    ),
    "WRb:read-as-igfo": (STACK, weights(blocks("igfo"))),
    "WRb:read-as-iofg": (WIDE, weights(blocks("iofg"))),
    "b:forget-bias-left-out": (STACK, weights(forget_bias(0))),
    "b:forget-bias-twice": (WIDE, weights(forget_bias(2))),
    "b:times-2": (STACK, each("b", lambda b: 2 * b)),
    "R:transposed-by-gate": (
        STACK, each("R", lambda R: np.concatenate([block.T for block in np.split(R, 4)])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(FORWARD, every=8))
def test_a_fault_of_a_network_is_named(name):
    settings, fault = FORWARD[name]
    found = explain([seen("one", settings, fault, timesteps=5)])
    assert found, name
    named = [found[0].fault, *found[0].indistinguishable_from]
    assert name in named
    assert found[0].sigma < 10
    assert found[0].fix


@pytest.mark.parametrize(
    "name", mostly_slow(["turn:whole", "all-weights-of-lanes:directions-exchanged", "clip:none"], every=3)
)
def test_cases_that_a_fault_leaves_alone_do_not_speak_against_it(name):
    settings, fault = FORWARD[name]
    wrong = seen("wrong", settings, fault, timesteps=5)
    right = seen("right", {"num_layers": 2, "weights": Values(kind="zeros")}, ways(), timesteps=3)
    assert name in {one.fault for one in explain([wrong, right])}


def test_a_healthy_network_is_not_accused():
    for k, settings in enumerate((STACK, WIDE, LONE, CELL)):
        assert explain([seen("healthy", settings, ways(), seed=k)]) == []


@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_a_fault_of_one_case_alone_is_not_explained_by_what_would_change_another():
    fault = FORWARD["WRb:read-as-igfo"][1]
    wrong, right = seen("wrong", STACK, fault), seen("right", WIDE, ways())
    assert explain([wrong, right]) == []


# -- the way back ------------------------------------------------------------------------------------------------

SMALL = {"timesteps": 4, "batch": 2, "input_size": 2, "hidden_size": 2, "gradients": True, "initial_state": "probe"}


def trained(changed=lambda problem: problem, scale=1.0, **options):
    """What an LSTM gave whose gradients go wrong."""
    problem = Problem.from_case(make_case("trained", seed=5, **SMALL))
    found = plain_lstm.run(problem.case, plain_lstm.complex_arrays(problem))
    gradients = plain_lstm.gradients(changed(problem), **options)
    tensors = {"h": found["h"], "h_n": found["h_n"][0], "c_n": found["c_n"][0]}
    tensors |= {name: scale * array for name, array in gradients.items()}
    return Observation(problem, {name: array.real.astype(np.float32) for name, array in tensors.items()})


def without(**changes):
    def changed(problem):
        from dataclasses import replace as changed_fields

        return changed_fields(problem, **{name: change(getattr(problem, name)) for name, change in changes.items()})

    return changed


BACKWARD = {
    "d-h_in-and-c_in:zero@later": {"detached": "hc"},
    "d-h.carry:zero": {"detached": "h"},
    "d-c.carry:zero@earlier": {"detached": "c"},
    "all-dc:zero": {"changed": without(dc=lambda dc: 0 * dc)},
    "all-dh:of-the-last-timestep-only": {
        "changed": without(dh=lambda dh: dh * (np.arange(4) == 3)[:, None, None].astype(dh.dtype))
    },
    "all-gradients:times-1/B": {"scale": 0.5},
    "all-gradients:times-1/T": {"scale": 0.25},
    "all-gradients:times--1": {"scale": -1.0},
}


@pytest.mark.parametrize("name", BACKWARD)
def test_a_fault_of_the_way_back_is_named(name):
    found = explain([trained(**BACKWARD[name])])
    assert found
    assert name in [found[0].fault, *found[0].indistinguishable_from]


def test_right_gradients_are_not_accused():
    assert explain([trained()]) == []


def test_what_nothing_explains_is_told_with_what_is_known():
    one = trained()
    one.tensors["dW"][3, 1] += 1
    run = RunResult(
        case="trained", backend="b", status="diverge", timesteps=4, first_divergence=First("dW", 0, backward=True)
    )
    (found,) = diagnose_runs([one], [run])["trained"]
    assert found.fault == UNEXPLAINED
    assert any("first wrong: dW" in fact for fact in found.facts)


def test_a_forward_fault_of_a_plain_layer_is_explained_by_the_catalogue_though_gradients_are_asked_for():
    """The gates read in another order: what the layer does going forward is enough."""
    problem = Problem.from_case(make_case("trained", seed=5, **SMALL))
    arrays = blocks("igfo")(plain_lstm.complex_arrays(problem), problem.case.lstm)
    found = plain_lstm.run(problem.case, arrays)
    tensors = {"h": found["h"], "h_n": found["h_n"][0], "c_n": found["c_n"][0]}
    one = Observation(problem, {name: array.real.astype(np.float32) for name, array in tensors.items()})
    run = RunResult(case="trained", backend="b", status="diverge", timesteps=4, first_divergence=First("h", 0))
    assert diagnose_runs([one], [run])["trained"][0].fault == "WRb:read-as-igfo"
