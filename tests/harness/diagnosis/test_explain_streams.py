# ruff: noqa: E501 (sentences)
"""Sequences that arrive in pieces, through ports: the whole comes out, and a state that is lost on the way is named.

The mistakes are planted here, in NumPy alone: nothing of them is shared with what finds them.
"""

import numpy as np
import pytest
from examples import mostly_slow
from lstm_cases import make_case

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.port import LocalPort


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def layer(x, weights, h, c, lengths=None):
    h_seq, c_seq = [], []
    for t, x_t in enumerate(x):
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        runs = np.ones((len(h), 1), bool) if lengths is None else (t < lengths)[:, None]
        h, c = np.where(runs, h_new, h), np.where(runs, c_new, c)
        h_seq.append(np.where(runs, h, 0))
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq), h, c


def port(x, weights, h0, c0, lengths=None):
    return layer(x, weights, h0, c0, lengths)[:2]


def network(x, weights, h0, c0, lengths=None):
    h_n, c_n = [], []
    h_seq = x
    for (of_layer,), *start in zip(weights, h0, c0, strict=True):
        h_seq, _, h, c = layer(h_seq, of_layer, *start, lengths)
        h_n.append(h)
        c_n.append(c)
    return h_seq, np.stack(h_n), np.stack(c_n)


def shipped(name):
    return find_cases([name])[0].case


def at_later_pieces(healthy, change):
    """A port that changes the state with which it is called, but for the first piece of a problem."""
    first = {}

    def faulty(x, weights, h0, c0, lengths=None):
        # One call after the other of one problem: the weights are the same.
        key = str(weights)
        start = first.setdefault(key, (h0, c0))
        if start[0] is not h0:
            h0, c0 = change(h0, c0, *start)
        return healthy(x, weights, h0, c0, lengths)

    return faulty


def explained(healthy, name, change):
    problem = Problem.from_case(shipped(name))
    outcome = LocalPort(at_later_pieces(healthy, change)).call([problem])[0]
    return explain([Observation(problem, outcome.trace.tensors(problem.case))])[0]


def in_half(array):
    return array.astype(np.float16).astype(array.dtype)


def lowest_only(array):
    return np.where(np.arange(len(array))[:, None, None] == 0, array, 0)


def test_a_healthy_port_gives_the_whole_piece_by_piece():
    plain = check(LocalPort(port), [shipped("chunks"), shipped("chunks-lengths")])
    assert [run.status for run in plain] == ["agree", "agree"]
    (run,) = check(LocalPort(network), [shipped("chunks-layers")])
    assert run.status == "agree"
    assert {"h_l2", "h_n_l0", "c_n_l2"} <= run.tensors.keys()


def test_each_piece_is_a_call_of_its_own():
    calls = []

    def told(x, weights, h0, c0):
        calls.append((len(x), h0.copy()))
        return port(x, weights, h0, c0)

    problem = Problem.from_case(shipped("chunks"))
    trace = LocalPort(told).call([problem])[0].trace
    assert [length for length, _ in calls] == [4, 1, 7]
    np.testing.assert_array_equal(calls[0][1], problem.h0)
    np.testing.assert_array_equal(calls[2][1], trace.h[4])


@pytest.mark.parametrize(
    ("name", "change", "fault", "message"),
    mostly_slow([
        ("chunks", lambda h, c, h0, c0: (0 * h, 0 * c), "state-between-pieces:zero",
         "The state is dropped between pieces: timestep 4 begins from zeros."),
        ("chunks", lambda h, c, h0, c0: (0 * h, c), "h-between-pieces:zero",
         "The h is dropped between pieces: timestep 4 begins from an h of 0."),
        ("chunks", lambda h, c, h0, c0: (h, 0 * c), "c-between-pieces:zero",
         "The c is dropped between pieces: timestep 4 begins from a c of 0."),
        ("chunks", lambda h, c, h0, c0: (h0, c0), "state-between-pieces:initial",
         "The state is kept from the first piece: timestep 4 begins from the initial h0 and c0 again."),
        ("chunks", lambda h, c, h0, c0: (in_half(h), in_half(c)), "state-between-pieces:in-float16",
         "The state is narrowed between pieces: timestep 4 begins from what was rounded to float16."),
        ("chunks-lengths", lambda h, c, h0, c0: (c, h), "state-between-pieces:exchanged",
         "The state is exchanged between pieces: timestep 4 begins from the final c as its h and the final h as its c."),
        ("chunks-lengths", lambda h, c, h0, c0: (0 * h, 0 * c), "state-between-pieces:zero",
         "The state is dropped between pieces: timestep 4 begins from zeros."),
    ], every=3, names=4),
)  # fmt: skip
def test_a_state_that_is_lost_between_pieces_is_named(name, change, fault, message):
    cause = explained(port, name, change)
    assert (cause.fault, cause.message) == (fault, message)
    assert cause.family in {"streaming", "precision"}


@pytest.mark.parametrize(
    ("change", "fault", "message"),
    [
        pytest.param(lambda h, c, h0, c0: (h[::-1], c[::-1]), "state-between-pieces:reversed",
         "The state that is handed from piece to piece is in reverse order: the last layer and direction first.", marks=pytest.mark.slow),
        (lambda h, c, h0, c0: (lowest_only(h), lowest_only(c)), "state-between-pieces:zero@upper",
         "In the upper layers, the state is dropped between pieces: timestep 3 begins from zeros."),
        pytest.param(lambda h, c, h0, c0: (h, c0), "c-between-pieces:initial",
         "The c is kept from the first piece: timestep 3 begins from the initial c0 again.", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_states_of_several_layers_that_are_lost_between_pieces_are_named(change, fault, message):
    cause = explained(network, "chunks-layers", change)
    assert (cause.fault, cause.message) == (fault, message)


def test_a_mistake_of_each_call_is_told_of_every_piece():
    problem = Problem.from_case(shipped("chunks"))
    (outcome,) = LocalPort(lambda x, weights, h0, c0: port(x, weights, 0 * h0, 0 * c0)).call([problem])
    cause = explain([Observation(problem, outcome.trace.tensors(problem.case))])[0]
    assert (cause.fault, cause.message) == ("h0-and-c0:zero", "The initial state (h0 and c0) is 0, in every piece.")


def last_left_out(x, weights, h0, c0):
    h_seq, c_seq = port(x, weights, h0, c0)
    return np.concatenate([h_seq[:-1], 0 * h_seq[:1]]), c_seq


@pytest.mark.parametrize(
    ("faulty", "fault"),
    [
        (lambda *a: (port(*a)[0][::-1], port(*a)[1]), "h.seq:reversed"),
        (lambda *a: (np.broadcast_to(port(*a)[0].mean(0), port(*a)[0].shape), port(*a)[1]), "h.seq:mean-over-time"),
        (last_left_out, "h.seq:all-but-the-last-timestep"),
    ],
)
def test_what_needs_several_timesteps_leaves_a_piece_of_one_alone(faulty, fault):
    problem = Problem.from_case(shipped("chunks"))

    def called(x, weights, h0, c0):
        return faulty(x, weights, h0, c0)

    (outcome,) = LocalPort(called).call([problem])
    assert explain([Observation(problem, outcome.trace.tensors(problem.case))])[0].fault == fault


def test_final_states_that_are_wrong_are_handed_over():
    def upper_forgotten(*arguments):
        h_seq, h_n, c_n = network(*arguments)
        return h_seq, lowest_only(h_n), lowest_only(c_n)

    problem = Problem.from_case(shipped("chunks-layers"))
    (outcome,) = LocalPort(upper_forgotten).call([problem])
    cause = explain([Observation(problem, outcome.trace.tensors(problem.case))])[0]
    assert cause.message == "In the upper layers, the final state (h and c) is 0."


def test_a_port_without_a_final_c_is_told_that_it_cannot_go_on():
    def without_c(x, weights, h0, c0):
        return port(x, weights, h0, c0)[0], None

    (run,) = check(LocalPort(without_c), [shipped("chunks")])
    assert run.status == "unsupported"
    assert "the case runs in pieces, and it returns no final c for the next one to start from" in run.message
    (run,) = check(LocalPort(without_c), [make_case(timesteps=4, chunks=(4,))])
    assert run.status == "agree"


def test_a_final_c_in_the_place_of_all_of_them_is_enough():
    def final_c(x, weights, h0, c0):
        h_seq, c_seq = port(x, weights, h0, c0)
        return h_seq, c_seq[-1]

    (run,) = check(LocalPort(final_c), [shipped("chunks")])
    assert run.status == "agree"
    assert {"h", "c_n"} == run.tensors.keys()


def test_a_failing_piece_is_named():
    def too_short(x, weights, h0, c0):
        if len(x) == 1:
            raise ValueError("a single timestep")
        return port(x, weights, h0, c0)

    (outcome,) = LocalPort(too_short).call([Problem.from_case(shipped("chunks"))])
    assert outcome.status == "failed"
    assert outcome.message.startswith("timestep 4, run as a piece of its own: it raised ValueError in ")
