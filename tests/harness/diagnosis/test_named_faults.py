"""Every slip of ``faulty_lstm``, planted in an implementation that shares nothing with the reference, is named.

The fast part takes some, the slow part all of them, and all once more with other numbers.
"""

from __future__ import annotations

import zlib

import pytest
from faulty_lstm import SLIPS, make_port
from judge import causes_of
from lstm_cases import make_case

from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.check import cases_of, check
from lockstep.harness.jobs.problems import reseeded
from lockstep.harness.ports.port import LocalPort
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA

SEEDS = 20
FRESH = [
    make_case(
        "fresh", timesteps=5, batch=3, input_size=4, hidden_size=3, forget_bias=1.0, initial_state="probe", seed=77
    ),
    make_case(
        "fresh-ends", timesteps=6, batch=4, input_size=3, hidden_size=3, initial_state="probe", lengths=(5, 2, 6, 1)
    ),
]
PLAIN = [case for case in cases_of([]) if case.plain]
SMALL = [case for case in PLAIN if case.name not in {"long", "wide"}]


def some(count):
    """Some slips, always the same."""
    return sorted(SLIPS, key=lambda name: zlib.crc32(name.encode()))[:count]


def is_what(name, port):
    """Whether the deviations of a name give what a port gives, for problems that no search has seen."""
    for case in FRESH:
        problem = Problem.from_case(case)
        (outcome,) = port.call([problem])
        seen = Observation(problem, outcome.trace.tensors()).finite  # beyond all bounds nothing tells
        expected = expected_named(name, seen.problem) or expect(seen.problem)  # of no lengths none are taken wrongly
        if not seen.distance(expected, form_of(name)) <= LIMIT_SIGMA:
            return False
    return True


def form_of(name):
    forms = [form for form in FORMATS if f":in-{form}" in name]
    return forms[0] if forms else None


def assert_named(slip, seed=0):
    layout = "torch" if "-of-two-" in slip else "canonical"
    cases = PLAIN if "every-16" in slip else SMALL  # such a reset needs more than 16 timesteps
    port = LocalPort(make_port(slip), layout=layout)
    checked = check(port, [reseeded(case, seed) for case in cases])
    assert any(run.status == "diverge" for run in checked), "not seen"
    first = causes_of(checked)[0]
    assert is_what(first.fault, port), first
    assert first.message
    assert first.fix
    assert first.sigma is not None or first.fault == "computed-in-float32"  # which is told by the numbers' own bits
    assert first.sigma is None or first.sigma <= LIMIT_SIGMA


@pytest.mark.parametrize("fault", some(4))
def test_a_planted_fault_is_named(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(SLIPS))
def test_every_planted_fault_is_named(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_naming_does_not_depend_on_luck(seed):
    """Each fault once more, under one of twenty seeds: that says more than some of them under all."""
    missed = []
    for fault in some(len(SLIPS))[seed - 1 :: SEEDS]:
        try:
            assert_named(fault, seed)
        except AssertionError as error:
            missed.append(f"{fault}: {error}")
    assert not missed
