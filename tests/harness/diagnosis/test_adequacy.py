"""Which faults a case can see."""

from __future__ import annotations

import pytest
from lstm_cases import make_case

from lockstep.harness.cases.find import find_cases
from lockstep.harness.diagnosis import screen
from lockstep.harness.diagnosis.adequacy import PLAIN, adequacy

# The matrix takes seconds: one process computes it for all tests of it.
pytestmark = pytest.mark.xdist_group("adequacy")


LARGE = {"long", "wide"}  # they show nothing that small ones do not, and take minutes


@pytest.fixture(scope="module")
def suite():
    return adequacy(
        [found.case for found in find_cases() if found.case.plain and found.case.name not in LARGE], layout="torch"
    )


# What changes nothing: of gates, which are within (0, 1), of h and tanh(c), which are within (-1, 1).
THE_SAME = {"keep.c:previous-c", "h_in:previous-h", "c_in:previous-c"}
OF_ANOTHER_WIDTH = ("previous-Wx", "previous-Rh", "previous-z", "previous-x")
UNCHANGED = ("clip-1", "clip-3", "hard_tanh-of-it", "relu-of-it", "leaky_relu_0.01-of-it", "absolute")


@pytest.mark.slow
def test_the_shipped_suite_sees_every_deviation_of_layers_that_changes_what_is_returned(suite):
    for name in suite.unseen:
        site, _, edit = name.partition(":")
        # A port of a plain layer returns no final states; what has another width has a place at the first step alone.
        assert site in {"h_n", "c_n", "h_n-and-c_n"} or edit in (*UNCHANGED, *OF_ANOTHER_WIDTH) or name in THE_SAME, (
            name
        )
    assert len(suite.unseen) < 0.05 * len(suite.sigma)


@pytest.mark.slow
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


def test_deviations_run_as_one_are_told_as_each_alone(monkeypatch):
    cases = [found.case for found in find_cases(["ones"])]
    together = adequacy(cases)
    monkeypatch.setattr(screen, "MOST_AT_ONCE", 1)
    alone = adequacy(cases)
    assert list(together.sigma) == list(alone.sigma)
    assert together.unseen == alone.unseen
    # Beyond that nobody asks how far, and what is met first counts.
    exact = {name: row for name, row in alone.sigma.items() if row[0] <= PLAIN}
    assert len(exact) > 700
    assert {name: together.sigma[name] for name in exact} == pytest.approx(exact)
