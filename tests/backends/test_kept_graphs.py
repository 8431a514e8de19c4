"""A second case of the same shape builds and compiles nothing anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("framework", [pytest.param("tf", marks=pytest.mark.slow), "torch", "jax"])
def test_a_graph_is_kept_for_its_shape(framework, pytestconfig):
    counts = {name: count for name, count in COUNTS.items() if name.startswith(framework)}
    found = subprocess.run(
        [sys.executable, "-c", CODE.format(counts=counts)],
        capture_output=True, text=True, check=True, cwd=pytestconfig.rootpath,
    )  # fmt: skip
    lines = [line.split()[1:] for line in found.stdout.splitlines() if line.startswith("COUNT")]
    assert lines == [[name, "0", "0", "1"] for name in counts]
