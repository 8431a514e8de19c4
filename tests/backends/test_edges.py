"""Every backend at every edge: as expected, refused with a reason, or as a finding says."""

from __future__ import annotations

import numpy as np
import pytest
from backend_marks import COMPILING, marks_of
from edges import DECODER_EDGES, EDGES, NAN, STRUCK, by_definition, padded, status_of
from judge import judged

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.jobs.findings import findings
from lockstep.harness.reference.expect import expect

BACKENDS = find_backends()
# What memory held need not show each time.
TRIES = 10
# These compile each network anew, two layers in both directions for seconds; one of the two cells says it all.
REPEATING = {"tf_attention_cell"}


def marks_at(backend, edge):
    """Give the marks of a backend at an edge: the suite is to stay quick."""
    long = COMPILING & set(backend.requires) and "bidirectional" in edge.name
    return [*marks_of(backend), *([pytest.mark.slow] if long or backend.name in REPEATING else [])]


at_every_edge = pytest.mark.parametrize(
    ("backend", "edge"),
    [
        pytest.param(backend, edge, id=f"{backend.name}-{edge.name}", marks=marks_at(backend, edge))
        for backend in BACKENDS
        for edge in (EDGES if backend.model == "lstm" else DECODER_EDGES).values()
    ],
)


def outcome(run_backend, backend, edge):
    """Give how a backend comes out at an edge, as a run's status; and the message."""
    problem = edge.problem
    answer = run_backend.problem(backend, problem)
    if answer.trace is None:
        return answer.status, answer.message
    return status_of(edge, problem, answer.trace), None


@at_every_edge
def test_it_is_as_expected_or_refused_or_known(run_backend, backend, edge):
    known = [finding for finding in findings() if finding.shows_at(backend.name, edge.name)]
    status, message = outcome(run_backend, backend, edge)
    if not known:
        assert status in {"agree", "unsupported"}, f"{status}, and no finding says so: {message}"
        assert status == "agree" or len(message) > 10
        return
    for _ in range(TRIES):
        if status != "agree":
            break
        status, message = outcome(run_backend, backend, edge)
    assert status in {finding.status for finding in known}, (
        f"{known[0].name} no longer shows at this edge, which comes out as {status}: {message}"
    )


def test_findings_name_edges_that_there_are():
    for finding in findings():
        models = {backend.model for backend in BACKENDS if backend.name in finding.backends}
        there = {name for model in models for name in (EDGES if model == "lstm" else DECODER_EDGES)}
        assert set(finding.edges) <= there, finding.name


# -- what is expected at them ------------------------------------------------------------------------------------------

STRUCK_EDGES = [
    edge for edge in EDGES.values() if " in x" in edge.name or " in h0" in edge.name or " in c0" in edge.name
]
PADDED = [edge for edge in (*EDGES.values(), *DECODER_EDGES.values()) if "padding" in edge.name]


def same(one, other):
    """Whether two expected tensors are the same numbers with the same noise."""
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("value", "rest", "noise"))


@pytest.mark.parametrize("edge", PADDED, ids=lambda edge: edge.name)
def test_nothing_of_what_is_expected_depends_on_the_padding(edge):
    struck, plain = expect(edge.problem), expect(problem_of(edge.case))
    assert struck.keys() == plain.keys()
    assert all(same(struck[name], plain[name]) for name in plain)
    assert np.isfinite(struck["h"].value if "h" in struck else struck["h_l1"].value).all()


@pytest.mark.parametrize("edge", STRUCK_EDGES, ids=lambda edge: edge.name)
def test_other_sequences_and_earlier_steps_are_expected_as_they_were(edge):
    struck, plain = expect(edge.problem), expect(problem_of(edge.case))
    others = np.arange(edge.case.run.batch) != STRUCK
    for name in ("h", "c"):
        np.testing.assert_array_equal(struck[name].value[:, others], plain[name].value[:, others])
        if " in x" in edge.name:
            np.testing.assert_array_equal(struck[name].value[0], plain[name].value[0])
    assert not np.array_equal(struck["h"].value[:, STRUCK], plain["h"].value[:, STRUCK])
    if "NaN" in edge.name:
        assert np.isnan(struck["h"].value[-1, STRUCK]).all()
        assert "gradients" not in edge.name or np.isnan(struck["dW"].value).all()


def test_infinity_in_the_cell_state_is_expected_as_its_equations_say():
    """The forget gate is above 0: the state stays infinite, and h is what the output gate lets out of tanh, ±1."""
    for name, sign in (("inf in c0", 1), ("-inf in c0", -1)):
        problem = EDGES[name].problem
        found = expect(problem)
        assert (found["c"].value[:, STRUCK, 1] == sign * np.inf).all()
        np.testing.assert_array_equal(found["h"].value[:, STRUCK, 1], sign * found["o"].value[:, STRUCK, 1])


def test_infinity_in_the_inputs_is_expected_to_open_or_shut_every_gate():
    for name, sign in (("inf in x", 1), ("-inf in x", -1)):
        problem = EDGES[name].problem
        found, to = expect(problem), sign * problem.W[:, 0]
        i, f, g, o = np.split(to, 4)
        for gate, weight in (("i", i), ("f", f), ("o", o)):
            np.testing.assert_array_equal(found[gate].value[1, STRUCK], weight > 0)
        np.testing.assert_array_equal(found["g"].value[1, STRUCK], np.sign(g))


@pytest.mark.parametrize(
    "edge", [e for e in EDGES.values() if " inf" in f" {e.name}".replace("-", "")], ids=lambda e: e.name
)
def test_noise_beside_infinities_is_that_of_rounding(edge):
    """A gate at its end is there exactly: it must not be taken for one of which nothing is known."""
    found = expect(edge.problem)
    for name, tensor in found.items():
        assert tensor.noise[np.isfinite(tensor.value)].max() < 1e-5, name


def test_a_number_beside_a_nan_is_told_apart():
    """What is judged as agreeing can fail: one number too many, or one too few, is none."""
    edge = EDGES["NaN in x"]
    problem = edge.problem
    expected = {name: one.value.copy() for name, one in expect(problem).items() if name in {"h", "c_n"}}
    from lockstep.harness.adapters.trace import Trace

    assert judged(edge.case, problem, Trace(**expected)).status == "agree"
    for place, value in (((1, STRUCK, 0), 0.5), ((0, STRUCK, 0), NAN), ((1, 1, 0), NAN)):
        h = expected["h"].copy()
        h[place] = value
        assert judged(edge.case, problem, Trace(h=h, c_n=expected["c_n"])).status == "diverge"


def test_padding_is_what_is_filled():
    edge = EDGES["NaN in the padding"]
    x = padded("x", NAN)(problem_of(edge.case)).x
    assert np.isnan(x[:, :, 0]).tolist() == [[False, False, False], [False, False, True], [True, False, True]]


def test_without_a_timestep_the_state_stays_and_its_cotangent_is_passed_on():
    problem = EDGES["no timestep, gradients"].problem
    found = by_definition(problem)
    assert found["h"].shape == (0, 3, 4)
    assert found["h_n"] is problem.h0
    assert found["c_n"] is problem.c0
    assert found["dc0"] is problem.dc
    assert not found["dh0"].any()
    assert not found["dW"].any()
