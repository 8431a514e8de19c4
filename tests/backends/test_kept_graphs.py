"""A second case of the same shape builds and compiles nothing anew."""

from __future__ import annotations

import subprocess
import sys

import pytest
from lstm_cases import make_case

from lockstep.backends.kept import kept
from lockstep.harness.cases.problem import Problem

# What each framework's module tells of what it has built.
COUNTS = {
    "tf_loop": "module.tf1_graph._graph.cache_info().misses",
    "tf_static_rnn": "module.tf1_graph._graph.cache_info().misses",
    "tf_dynamic_rnn": "module.tf1_graph._graph.cache_info().misses",
    "torch_lstm": "module._lstm.cache_info().misses",
    "jax_scan": "module.jax_network.forward_compiled._cache_size()",
}

CODE = """
import os, sys
os.environ.update(TF_USE_LEGACY_KERAS="1", JAX_ENABLE_X64="1")
sys.path.insert(0, "tests")
import importlib
from lstm_cases import make_case
from lockstep.harness.cases.problem import Problem
for name, count in {counts!r}.items():
    module = importlib.import_module("lockstep.backends." + name)
    found = []
    for settings in ({{"seed": 1}}, {{"seed": 2}}, {{"seed": 3, "hidden_size": 7}}):
        module.run(Problem.from_case(make_case(**settings)))
        found.append(eval(count))
    print("COUNT", name, *(number - found[0] for number in found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tf", "torch", "jax"])
def test_a_graph_is_kept_for_its_shape(framework, pytestconfig):
    counts = {name: count for name, count in COUNTS.items() if name.startswith(framework)}
    found = subprocess.run(
        [sys.executable, "-c", CODE.format(counts=counts)],
        capture_output=True, text=True, check=True, cwd=pytestconfig.rootpath,
    )  # fmt: skip
    lines = [line.split()[1:] for line in found.stdout.splitlines() if line.startswith("COUNT")]
    assert lines == [[name, "0", "0", "1"] for name in counts]


def problem(**settings):
    return Problem.from_case(make_case(**settings))


def test_a_model_is_kept_for_its_weights_and_shapes():
    built = []
    model_of = kept(lambda asked: built.append(asked.case) or len(built))
    first = problem(seed=1, weights="ones")
    assert model_of(first) == model_of(problem(seed=2, weights="ones")) == 1
    assert [model_of(problem(seed=1)), model_of(problem(seed=1, timesteps=4)), model_of(first)] == [2, 3, 1]
    assert len(built) == 3


def test_where_weights_can_be_loaded_a_graph_is_enough_and_they_are_those_of_the_problem():
    def load(model, asked):
        model[0] = asked.W[0, 0]
        return True

    model_of = kept(lambda asked: [asked.W[0, 0]], load)
    first, second, wider = problem(seed=1), problem(seed=2, forget_bias=0.0), problem(hidden_size=5)
    model = model_of(first)
    for asked in (second, second, first, second):
        assert model_of(asked) is model
        assert model == [asked.W[0, 0]]
    assert model_of(wider) is not model


def test_a_model_whose_weights_cannot_be_those_is_made_anew():
    model_of = kept(lambda asked: [asked.W[0, 0]], lambda model, asked: False)
    first, second = problem(seed=1), problem(seed=2)
    assert model_of(first) is not model_of(second)
    assert model_of(second) == [second.W[0, 0]]


def test_the_model_that_was_not_asked_for_longest_is_made_anew():
    built = []
    model_of = kept(lambda asked: built.append(asked.case.run.timesteps), most=2)
    for timesteps in (1, 2, 1, 3, 1, 2):
        model_of(problem(timesteps=timesteps))
    assert built == [1, 2, 3, 2]
