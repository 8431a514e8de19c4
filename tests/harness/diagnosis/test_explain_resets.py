# ruff: noqa: E501 (sentences)
"""States that start anew within a sequence: ports that do it right agree, and each way to do it wrong is named.

The mistakes are planted here, in NumPy alone: nothing of them is shared with what finds them.
"""

import numpy as np
import pytest

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.port import LocalPort


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cell(x, weights, h, c):
    i, f, g, o = np.split(x @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def layer(x, weights, h, c, lengths, before, after=None, returned=None):
    """Run a layer; each hook gets h, c and the timestep, and gives what stands in their place."""
    h_seq, c_seq = [], []
    for t, x_t in enumerate(x):
        new_h, new_c = cell(x_t, weights, *before(h, c, t))
        if returned is not None:
            new_h, new_c = returned(new_h, new_c, t)
        runs = np.ones((len(h), 1), bool) if lengths is None else (t < lengths)[:, None]
        h_seq.append(np.where(runs, new_h, 0))
        c_seq.append(np.where(runs, new_c, c))
        if after is not None:
            new_h, new_c = after(new_h, new_c, t)
        h, c = np.where(runs, new_h, h), np.where(runs, new_c, c)
    return np.stack(h_seq), np.stack(c_seq), h, c


def anew(resets, of="hc", start=None):
    """A hook that starts sequences anew."""

    def hook(h, c, t):
        rows = resets[t][:, None]
        h0, c0 = (0 * h, 0 * c) if start is None else start
        return np.where(rows, h0, h) if "h" in of else h, np.where(rows, c0, c) if "c" in of else c

    return hook


def as_it_is(h, c, _t):
    return h, c


def port(x, weights, h0, c0, lengths=None, resets=None):
    return layer(x, weights, h0, c0, lengths, as_it_is if resets is None else anew(resets))[:2]


def network(x, weights, h0, c0, lengths=None, resets=None, layers=(0, 1, 2)):
    finals = []
    for k, ((of_layer,), h, c) in enumerate(zip(weights, h0, c0, strict=True)):
        hook = anew(resets) if k in layers else as_it_is
        x, _, *final = layer(x, of_layer, h, c, lengths, hook)
        finals.append(final)
    h_n, c_n = (np.stack(states) for states in zip(*finals, strict=True))
    return x, h_n, c_n


def shipped(name):
    return find_cases([name])[0].case


def explained(port, name):
    problem = Problem.from_case(shipped(name))
    (outcome,) = LocalPort(port).call([problem])
    return explain([Observation(problem, outcome.trace.tensors(problem.case))])[0]


def test_ports_that_start_anew_agree():
    (run,) = check(LocalPort(port), [shipped("resets")])
    assert run.status == "agree"
    (run,) = check(LocalPort(network), [shipped("resets-layers")])
    assert run.status == "agree"


def test_resets_reach_a_port_as_truth_values_and_only_where_a_case_has_them():
    given = []

    def told(x, weights, h0, c0, resets=None):
        given.append(resets)
        return port(x, weights, h0, c0, resets=resets)

    check(LocalPort(told), [shipped("probe")])
    assert set(map(type, given)) == {type(None)}
    check(LocalPort(told), [shipped("resets")])
    assert given[-1].dtype == bool
    assert [np.flatnonzero(column).tolist() for column in given[-1].T] == [[0, 6], [3, 4, 9], [], [2, 7]]


def test_a_port_without_resets_is_told_what_to_add():
    def without(x, weights, h0, c0):
        return port(x, weights, h0, c0)

    (run,) = check(LocalPort(without), [shipped("resets")])
    assert run.status == "unsupported"
    assert run.message.startswith(
        "it takes no resets, at which a sequence's state starts anew: add `resets=None` to its parameters"
    )


def late(resets):
    return np.concatenate([0 * resets[:1], resets[:-1]])


def early(resets):
    return np.concatenate([resets[1:], 0 * resets[:1]])


def of_any(resets):
    return np.broadcast_to(resets.any(axis=1, keepdims=True), resets.shape)


# What a layer's loop does, from (h0, c0, resets): the hooks before and after a step, and of what is returned.
MISTAKES = {
    "ignored": (lambda start, r: (as_it_is,), "The resets are ignored: the state goes on where a sequence starts anew."),
    "one-timestep-late": (lambda start, r: (anew(late(r)),), "The state is reset one timestep late: the step at which a sequence starts anew still sees the old one."),
    "one-timestep-early": (lambda start, r: (anew(early(r)),), "The state is reset one timestep early: before the last step of what comes before."),
    "h-only": (lambda start, r: (anew(r, "h"),), "Only h is reset where a sequence starts anew: c goes on."),
    "c-only": (lambda start, r: (anew(r, "c"),), "Only c is reset where a sequence starts anew: h goes on."),
    "to-the-initial-state": (lambda start, r: (anew(r, start=start),), "A sequence starts anew from the given initial state, not from zeros."),
    "inverted": (lambda start, r: (anew(~r),), "The resets are inverted: the state is kept where a sequence starts anew, and reset at every other step."),
    "of-any-sequence,-for-all": (lambda start, r: (anew(of_any(r)),), "The state of all sequences is reset where any of them starts anew."),
    "after-the-step,-in-what-is-returned-too": (
        lambda start, r: (as_it_is, None, anew(r)),
        "The state is reset after the step at which a sequence starts anew, not before it, and 0 is returned there.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_with_resets_is_named(name):
    hooks, message = MISTAKES[name]

    def faulty(x, weights, h0, c0, lengths=None, resets=None):
        return layer(x, weights, h0, c0, lengths, *hooks((h0, c0), resets.astype(bool)))[:2]

    cause = explained(faulty, "resets")
    assert (cause.fault, cause.message, cause.family) == (f"resets:{name}", message, "resets")
    assert cause.fix == "Set h and c to 0 before each step at which a sequence starts anew, each sequence's own."


def test_a_reset_after_the_step_shows_in_the_final_state():
    problem = Problem.from_case(shipped("resets"))
    weights = problem.weights[0][0].arrays()
    h, c, h_n, c_n = layer(problem.x, weights, problem.h0, problem.c0, None, as_it_is, anew(problem.resets))
    cause = explain([Observation(problem, {"h": h, "c": c, "c_n": c_n, "h_n": h_n})])[0]
    assert cause.message == "The state is reset after the step at which a sequence starts anew, not before it."
    assert cause.fault == "resets:after-the-step"


def test_a_layer_that_does_not_start_anew_is_named():
    def lowest_only(*arguments, lengths=None, resets=None):
        return network(*arguments, lengths=lengths, resets=resets, layers=(0,))

    cause = explained(lowest_only, "resets-layers")
    assert cause.fault == "resets:ignored@upper"
    assert (
        cause.message == "In the upper layers, the resets are ignored: the state goes on where a sequence starts anew."
    )


def test_a_gradient_that_goes_on_before_a_reset_is_named():
    from plain_lstm import STEP

    problem = Problem.from_case(shipped("resets-gradients"))
    weights = problem.weights[0][0].arrays()
    resets, names = problem.resets, ("h0", "c0")

    def gradients(stops):
        """Dh0 and dc0 by the method of complex steps; what is reset drops its value, and its derivative if it stops."""

        def hook(h, c, t):
            rows = resets[t][:, None]
            return tuple(np.where(rows, 0 if stops else 1j * a.imag, a) for a in (h, c))

        def loss(h0, c0):
            h, _, _, c_n = layer(problem.x.astype(complex), weights, h0, c0, None, hook)
            return (problem.dh * h).sum() + (problem.dc * c_n).sum()

        start = {name: getattr(problem, name).astype(complex) for name in names}
        found = {}
        for name in names:
            found[f"d{name}"] = np.zeros(start[name].shape)
            for at in np.ndindex(start[name].shape):
                moved = {**start, name: start[name].copy()}
                moved[name][at] += 1j * STEP
                found[f"d{name}"][at] = loss(**moved).imag / STEP
        return {name: array.astype(np.float32) for name, array in found.items()}

    assert Observation(problem, gradients(stops=True)).sigma < 10
    cause = explain([Observation(problem, gradients(stops=False))])[0]
    assert cause.fault == "d-resets:passed-on"
    assert (
        cause.message
        == "On the way back the gradient of a state that is reset is not stopped: it goes to the state before; going forward is right."
    )
