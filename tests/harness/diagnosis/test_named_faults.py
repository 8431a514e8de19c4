"""Every fault of the catalogue, planted in an implementation that shares nothing with the reference, is named.

The fast part takes some of each family, the slow part all of them, and some over twenty seeds.
"""

from __future__ import annotations

import zlib

import pytest
from faulty_lstm import make_port

from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.fault import FAMILIES
from lockstep.harness.jobs.check import cases_of, check
from lockstep.harness.ports.port import LocalPort
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import TWO_BIASES

SEEDS = 20
OF_EACH_FAMILY = 4
SMALL = [case for case in cases_of([]) if case.name not in {"long", "wide"}]


def some(count):
    """Give some names of each family, always the same."""
    by_family = {}
    for name, fault in catalogue().items():
        by_family.setdefault(fault.family, []).append(name)
    return [
        name
        for family in FAMILIES
        for name in sorted(by_family.get(family, []), key=lambda name: zlib.crc32(name.encode()))[:count]
    ]


def assert_named(fault, seed=0):
    layout = "torch" if "-of-two-" in fault else "canonical"
    assert layout == "canonical" or layout in TWO_BIASES
    cases = cases_of([]) if "every-16" in fault else SMALL  # such a reset needs more than 16 timesteps
    checked = check(LocalPort(make_port(fault), layout=layout), cases, layout=layout, seed=seed)
    assert any(run.status == "diverge" for run in checked.runs), "not seen"
    first = checked.diagnosis[0]
    assert fault in {first.fault, *first.indistinguishable_from}, first
    assert first.message
    assert first.fix
    assert first.sigma is not None
    assert first.sigma <= LIMIT_SIGMA


@pytest.mark.parametrize("fault", some(OF_EACH_FAMILY))
def test_a_planted_fault_is_named(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(catalogue()))
def test_every_planted_fault_is_named(fault):
    assert_named(fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_naming_does_not_depend_on_luck(seed):
    missed = []
    for fault in some(12):
        try:
            assert_named(fault, seed)
        except AssertionError as error:
            missed.append(f"{fault}: {error}")
    assert not missed
