"""Which configurations a campaign has, and who runs which."""

from __future__ import annotations

from itertools import combinations, islice

import pytest

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.cases.problem import Problem, digest_of
from lockstep.harness.cases.random_cases import DTYPES, EXCLUSIVE, RANDOM_FEATURES
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.units import (
    FEATURES_OF_MODEL,
    SAME_WEIGHTS,
    Choice,
    Design,
    check_features,
    met_by,
    pairs_among,
)
from lockstep.harness.jobs.findings import expected_of

WIDE = BackendInfo("wide", "wide")
NARROW = BackendInfo("narrow", "narrow")
DECODER = BackendInfo("decoder", "decoder", model="attention_decoder")
NARROW_FEATURES = {"float32", "bfloat16", "layers", "lengths", "gradients", "initial state"}


def asked(backend, cases):
    """What the three support, told by what a case has."""
    if backend is not NARROW:
        return [None] * len(cases)
    return [None if met_by(case) <= NARROW_FEATURES else "refused" for case in cases]


def test_a_configuration_is_a_function_of_seed_and_k_alone():
    first, second = Design(3), Design(3)
    later = first.round_size + 7
    assert second.configuration(later) == first.configuration(later)
    assert Design(4).configuration(later) != first.configuration(later)
    names = [case.name for case in first.configuration(5).problems]
    assert names == [f"random-5-{j}" for j in range(first.problems)]
    assert len({case.run.seed for case in first.configuration(5).problems}) == first.problems
    assert len({case.lstm for case in first.configuration(5).problems}) == 1
    weights = [digest_of(Problem.from_case(case).named_weights()) for case in first.configuration(5).problems]
    assert [len(set(weights[n : n + SAME_WEIGHTS])) for n in range(0, len(weights), SAME_WEIGHTS)] == [1] * 5
    assert len(set(weights)) == 5
    assert first.features_of(later) == first.configuration(later).features


def test_fewer_problems_of_a_network_are_the_first_of_more():
    assert Design(3, problems=2).configuration(9).problems == Design(3).configuration(9).problems[:2]


@pytest.mark.parametrize("backend", [WIDE, NARROW, DECODER], ids=lambda backend: backend.name)
def test_every_pair_that_a_backend_supports_is_met_before_any_is_met_by_a_network_that_brings_none(backend):
    names = [*FEATURES_OF_MODEL[backend.model], *DTYPES]
    if backend is NARROW:
        names = [name for name in names if name in NARROW_FEATURES]
    possible = {
        frozenset(pair) for pair in combinations(names, 2) if not any(set(pair) <= group for group in EXCLUSIVE)
    }
    met = set()
    for configuration, backends in Choice(Design(1), [backend], asked).round(0):
        assert backends == [backend]
        assert configuration.pairs - met
        met |= configuration.pairs
    assert met >= possible
    assert {frozenset((name,)) for name in names if name in DTYPES} <= met


def test_rounds_draw_the_same_pairs_with_other_networks_and_numbers():
    first, second = islice(Choice(Design(1), [WIDE, NARROW], asked).rounds(), 2)
    assert {configuration.k for configuration, _ in first}.isdisjoint(configuration.k for configuration, _ in second)
    met = [set().union(*(configuration.pairs for configuration, _ in one)) for one in (first, second)]
    assert met[0] == met[1]


def test_backends_that_support_much_take_fewer_networks_than_there_are_pairs():
    chosen = Choice(Design(1), [WIDE, NARROW], asked).round(0)
    pairs = set().union(*(configuration.pairs for configuration, backends in chosen if WIDE in backends))
    assert sum(WIDE in backends for _, backends in chosen) < len(pairs) / 2
    assert any(len(backends) == 2 for _, backends in chosen)  # what is expected is computed once for both


def test_what_is_known_of_one_feature_does_not_hide_the_others():
    (cell,) = find_backends(["tf_block_cell"])
    chosen = Choice(Design(1), [cell], lambda _, cases: [None] * len(cases)).round(0)
    many = [configuration for configuration, _ in chosen if len(configuration.features) > 3]
    assert many
    assert not any(expected_of(cell.name, configuration.problems[0]) for configuration in many)


def test_only_features_that_are_asked_for_are_drawn():
    design = Design(2, check_features(["lengths", "gradients", "float64"]))
    features = set().union(*(design.configuration(k).features for k in range(design.round_size)))
    assert features == {"lengths", "gradients", "float64"}


def test_a_model_without_the_features_that_are_asked_for_has_no_networks():
    design = Design(2, check_features(["peephole"]))
    assert {design.configuration(k).model for k in range(design.round_size)} == {"lstm"}


def test_a_feature_that_there_is_not_is_told():
    with pytest.raises(LockstepError, match=r'"lenghts".*"lengths"'):
        check_features(["lenghts"])


def test_pairs_of_a_plain_network_are_its_dtype():
    assert pairs_among(frozenset({"float32"})) == {frozenset({"float32"})}
    assert len(pairs_among(frozenset({"float32", *list(RANDOM_FEATURES)[:3]}))) == 6
