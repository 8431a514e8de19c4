"""Slips in single lanes, uses and ways back, planted in ports by hand, bear their names; what is right bears none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from decoder_cases import make_decoder
from lstm_cases import make_case

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.tensors import split
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.named_causes import expected_named, holding
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.table import named
from lockstep.harness.faults.wording.words import Words

sys.path.insert(0, str(Path(__file__).parents[2] / "planted_causes"))
from slipping_ports import backward, decoder, network

TRAINED = {"gradients": True, "timesteps": 4, "batch": 2, "hidden_size": 3}


def seen(case, run):
    """What a port returned for a case."""
    problem = problem_of(case)
    tensors = {name: array.astype(np.float32) for name, array in run(problem).items()}
    return Observation(problem, split(tensors, case) if case.attention_decoder is None else tensors)


def lstm(slip, **settings):
    return seen(make_case(batch=3, initial_state="probe", seed=3, **settings), lambda problem: network(problem, slip))


NETWORKS = {
    "b:zero@0": ({"direction": "bidirectional"}, {"w": {(0, 0): {"b": lambda b: 0 * b}}}),
    "c.carry:initial@0r": (
        {"direction": "bidirectional"}, {"reset_c": True, "at": lambda layer, d: d == 1},
    ),
    "keep.c:h_in@1": ({"num_layers": 2}, {"f_keeps_h": True, "at": lambda layer, d: layer == 1}),
    "between-0:relu-of-it": ({"num_layers": 2}, {"between": lambda h: np.maximum(h, 0)}),
    "peep.o:c_in": ({"peephole": True}, {"peep": ("c", "c", "c")}),
    "tanh.c:raw": ({"cell_clip": 0.2}, {"raw_out": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_slip_of_a_network_bears_the_name_of_its_site_edit_and_lane(name):
    settings, slip = NETWORKS[name]
    found = explain([lstm(slip, **settings)])
    assert found[0].fault == name
    assert found[0].sigma < 10


@pytest.mark.parametrize(
    ("name", "slip"),
    [
        ("slope-of-u:1", "no tanh slope"),
        ("add.i:saved-as-f", "dg uses f"),
        ("d-h.carry:zero", "no dh_next"),
        ("db:times-1/B", "db mean"),
    ],
)
def test_a_slip_on_the_way_back_is_named(name, slip):
    found = explain([seen(make_case(initial_state="probe", seed=5, **TRAINED), lambda p: backward(p, {slip}))])
    assert name in {found[0].fault, *found[0].indistinguishable_from}


@pytest.mark.parametrize(
    ("name", "slip"),
    [("query:h_in", {"query": "old h"}), ("target.y:bare", {"target": "bare"}), ("R:transposed-by-gate", None)],
)
def test_a_slip_of_a_decoder_is_named(name, slip):
    slip = slip or {"w": {"R": lambda R: np.concatenate([block.T for block in np.split(R, 4)])}}
    found = explain([seen(make_decoder(seed=7), lambda problem: decoder(problem, slip))])
    assert found[0].fault == name


@pytest.mark.slow
def test_slips_of_two_lanes_are_found_together():
    slip = {
        "w": {
            (0, 0): {"R": lambda R: np.concatenate([block.T for block in np.split(R, 4)])},
            (1, 0): {"b": lambda b: 2 * b},
        }
    }
    (found, *_) = explain([lstm(slip, num_layers=2)])
    assert found.fault == "R:transposed-by-gate@0 + b:times-2@1"
    assert " And: " in found.message


def test_what_is_right_is_not_accused():
    assert explain([lstm({}, num_layers=2, direction="bidirectional")]) == []


def test_a_name_holds_for_other_numbers_of_the_same_slip_only():
    settings, slip = NETWORKS["keep.c:h_in@1"]
    own = lstm(slip, **settings)
    assert holding({"keep.c:h_in@1", "keep.c:h_in@0"}, [own]) == {"keep.c:h_in@1"}
    assert expected_named("no-such:name", own.problem) is None


@pytest.mark.parametrize(
    "case", [make_case(gradients=True, num_layers=2, lengths=(5, 3)), make_decoder(lengths=(5, 2, 1))]
)
def test_messages_and_fixes_are_sentences(case):
    for deviation in named(problem_of(case)).values():
        # Names of arrays keep their letters.
        assert Words().message(deviation)[0] in "bcdhxyz" or Words().message(deviation)[0].isupper()
        assert Words().message(deviation).endswith(".")
        assert Words().fix(deviation).endswith(".")
