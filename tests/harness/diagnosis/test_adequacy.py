"""Which faults a case can see."""

from __future__ import annotations

import pytest
from lstm_cases import make_case

from lockstep.harness.cases.find import find_cases
from lockstep.harness.diagnosis.adequacy import adequacy
from lockstep.harness.faults.catalogue import catalogue

# The matrix takes seconds: one process computes it for all tests of it.
pytestmark = pytest.mark.xdist_group("adequacy")


@pytest.fixture(scope="module")
def suite():
    return adequacy([found.case for found in find_cases() if found.case.plain], two_biases=True)


def test_the_shipped_suite_sees_every_fault_of_the_catalogue(suite):
    assert suite.sigma.keys() == catalogue().keys()
    # Bias and its two halves differ only where a layout hands b over as two.
    assert suite.unseen == []


def test_weights_of_one_are_blind_to_what_exchanges_units_and_gates(suite):
    blind = suite.blind("ones")
    for name in ("R-each-gate-transposed", "W-columns-reversed", "gates-exchanged-i-o-in-W", "x-batch-reversed"):
        assert name in blind
    assert "state-reset" not in blind
    assert len(blind) > 250
    assert len(blind) > len(suite.blind("probe")) + 200


def test_a_fault_that_changes_nothing_is_not_seen():
    case = make_case(timesteps=1, batch=1, initial_state="zeros")
    found = adequacy([case], [catalogue()[name] for name in ("state-reset", "initial-state-ignored", "bias-dropped")])
    assert found.unseen == ["state-reset", "initial-state-ignored"]
    assert found.sigma["bias-dropped"][0] > found.limit
