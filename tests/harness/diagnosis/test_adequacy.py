"""Which faults a case can see."""

from __future__ import annotations

import pytest
from lstm_cases import make_case

from lockstep.harness.cases.find import find_cases
from lockstep.harness.diagnosis.adequacy import adequacy

# The matrix takes seconds: one process computes it for all tests of it.
pytestmark = pytest.mark.xdist_group("adequacy")


@pytest.fixture(scope="module")
def suite():
    return adequacy([found.case for found in find_cases() if found.case.plain], layout="torch")


# What no numbers show: the first h or c is fed to nobody else, and a value that is 0 or 1 stays what it is.
def test_the_shipped_suite_sees_every_deviation_of_layers(suite):
    assert suite.unseen == []


def test_weights_of_one_are_blind_to_what_exchanges_units_and_gates(suite):
    blind = suite.blind("ones")
    for name in ("R:transposed-by-gate", "W:columns-flipped", "W:read-as-ofgi", "x.seq:batch-flipped"):
        assert name in blind
    assert "h_in-and-c_in:initial" not in blind
    assert len(blind) > 250
    assert len(blind) > len(suite.blind("probe")) + 200


def test_a_deviation_that_changes_nothing_is_not_seen():
    case = make_case(timesteps=1, batch=1, initial_state="zeros")
    strength = adequacy([case])
    assert {"h_in-and-c_in:initial", "h0-and-c0:zero"} <= set(strength.unseen)
    assert strength.sigma["b:zero"][0] > strength.limit
