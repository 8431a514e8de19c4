"""Which networks a campaign has, and which backends run which."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.cases.random_cases import DTYPES, EXCLUSIVE, RANDOM_FEATURES
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.units import (
    FEATURES_OF_MODEL,
    Networks,
    Plan,
    check_features,
    choose_networks,
    met_by,
    pairs_among,
)
from lockstep.harness.jobs.findings import expected_of

WIDE = BackendInfo("wide", "wide")
NARROW = BackendInfo("narrow", "narrow")
DECODER = BackendInfo("decoder", "decoder", model="attention_decoder")
BACKENDS = [WIDE, NARROW, DECODER]
NARROW_FEATURES = {"float32", "bfloat16", "layers", "lengths", "gradients", "initial state"}


def asked(backend, cases):
    """What the three support, told by what a case has."""
    return [None if backend is not NARROW or met_by(case) <= NARROW_FEATURES else "refused" for case in cases]


def plan_of(*backends, seed=1, features=()) -> Plan:
    names = tuple(backend.name for backend in backends)
    networks = choose_networks(Networks(seed, features), backends, asked)
    return Plan(Campaign(seed=seed, backends=names, features=features, networks=networks))


def test_a_unit_is_a_function_of_the_campaign_and_k_alone():
    first, second = plan_of(*BACKENDS, seed=3), plan_of(*BACKENDS, seed=3)
    later = len(first) + 7
    assert second.unit(later) == first.unit(later)
    assert plan_of(*BACKENDS, seed=4).unit(later) != first.unit(later)
    problems = first.unit(5).problems
    assert len({case.run.seed for case in problems}) == len(problems)
    assert len({case.lstm for case in problems}) == 1


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_every_pair_that_a_backend_supports_is_met_and_no_network_brings_none(backend):
    names = [*FEATURES_OF_MODEL[backend.model], *DTYPES]
    if backend is NARROW:
        names = [name for name in names if name in NARROW_FEATURES]
    possible = {
        frozenset(pair) for pair in combinations(names, 2) if not any(set(pair) <= group for group in EXCLUSIVE)
    }
    plan, met = plan_of(backend), set()
    for k in range(len(plan)):
        pairs = pairs_among(frozenset(plan.unit(k).features))
        assert pairs - met
        met |= pairs
    assert met >= possible
    assert {frozenset((name,)) for name in names if name in DTYPES} <= met


def test_the_next_round_has_other_numbers_and_other_parts_of_what_has_many_features():
    plan = plan_of(*BACKENDS)
    rounds = [[plan.unit(k) for k in range(start, start + len(plan))] for start in (0, len(plan))]
    assert [unit.backend for unit in rounds[0]] == [unit.backend for unit in rounds[1]]
    seeds = [{case.run.seed for unit in units for case in unit.problems} for units in rounds]
    assert seeds[0].isdisjoint(seeds[1])
    assert all(set(later.features) <= set(first.features) for first, later in zip(*rounds, strict=True))
    assert any(later.features != first.features for first, later in zip(*rounds, strict=True))


def test_backends_that_support_much_take_fewer_networks_than_there_are_pairs():
    plan = plan_of(*BACKENDS)
    units = [plan.unit(k) for k in range(len(plan))]
    pairs = set().union(*(pairs_among(frozenset(unit.features)) for unit in units if unit.backend == "wide"))
    assert sum(unit.backend == "wide" for unit in units) < len(pairs) / 2
    shared = Counter(unit.problems for unit in units)  # what is expected of these is computed once
    assert max(shared.values()) == 2


def test_what_is_known_of_one_feature_does_not_hide_the_others():
    (cell,) = find_backends(["tf_block_cell"])
    networks = Networks(1)
    (chosen,) = choose_networks(networks, [cell], lambda _, cases: [None] * len(cases)).values()
    many = [case for case in (networks.cases(n)[0] for n in chosen) if len(met_by(case)) > 3]
    assert many
    assert not any(expected_of(cell.name, case) for case in many)


def test_only_features_that_are_asked_for_are_drawn():
    plan = plan_of(WIDE, features=check_features(["lengths", "gradients", "float64"]))
    features = set().union(*(plan.unit(k).features for k in range(3 * len(plan))))
    assert features == {"lengths", "gradients", "float64"}


def test_a_backend_without_the_features_that_are_asked_for_runs_nothing():
    plan = plan_of(WIDE, DECODER, features=check_features(["peephole"]))
    assert {plan.unit(k).backend for k in range(len(plan))} == {"wide"}
    with pytest.raises(LockstepError, match="nothing to search"):
        plan_of(DECODER, features=check_features(["peephole"]))


def test_a_feature_that_there_is_not_is_told():
    with pytest.raises(LockstepError, match=r'"lenghts".*"lengths"'):
        check_features(["lenghts"])


def test_pairs_of_a_plain_network_are_its_dtype():
    assert pairs_among(frozenset({"float32"})) == {frozenset({"float32"})}
    assert len(pairs_among(frozenset({"float32", *list(RANDOM_FEATURES)[:3]}))) == 6
