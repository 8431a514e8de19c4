"""The shipped ports: the loop of the question and its correction in TensorFlow, and those to begin from."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PORTS = Path(str(files("lockstep.cases"))) / "ports"
tensorflow = pytest.mark.xdist_group("tensorflow")


@pytest.fixture
def check(tmp_path):
    """Check a shipped port as a user does; give the exit status, what was shown, and the results."""

    def check(name, *options):
        results = tmp_path / "results.json"
        command = [sys.executable, "-m", "lockstep", "check", f"{PORTS / name}.py:port", *options, "--json", results]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
        assert done.stderr == ""
        return done.returncode, done.stdout, json.loads(results.read_text())["runs"]

    return check


@tensorflow
@pytest.mark.slow  # every case through static graphs; the next one is quick
def test_the_broken_loop_diverges_at_timestep_1_since_its_state_is_reset(check):
    status, out, runs = check("broken_loop")
    assert status == 1
    assert "diverges at timestep 1 " in out
    assert "every step is fed the initial state" in out
    assert "Fix: Feed the state that a step returns into the next step." in out
    found = {run["case"]: run for run in runs}
    # With one timestep nothing is carried; a port without lengths cannot run sequences that end early.
    assert found["one-timestep"]["status"] == "agree"
    assert found["lengths"]["status"] == "unsupported"
    diverging = [run for run in runs if run["status"] == "diverge"]
    assert {"ones", "probe", "float64", "square"} <= {run["case"] for run in diverging}
    # Its 500 timesteps are not asked where they would take long.
    assert found["long"]["status"] == "diverge" or "not asked" in found["long"]["message"]
    for run in diverging:
        assert run["first_divergence"]["timestep"] == 1
        assert [one["fault"] for one in run["diagnosis"]] == ["h_in-and-c_in:initial"]


@tensorflow
def test_under_the_questions_weights_the_cause_is_named_with_what_these_could_not_have_told(check):
    status, out, (run,) = check("broken_loop", "--case", "ones")
    assert status == 1
    assert 'diverges at timestep 1 of 3 in case "ones".' in out
    assert run["tensors"]["c"]["first_divergence"]["at"] == [1, 0, 0]
    assert run["diagnosis"][0]["fault"] == "h_in-and-c_in:initial"
    # From zeros, the initial state cannot be told from zeros.
    assert "h_in-and-c_in:zero" in run["diagnosis"][0]["indistinguishable_from"]
    assert "Fits these numbers equally well: " in out
    assert "cannot detect" not in out  # what is wrong matters more


@pytest.mark.slow
@tensorflow
def test_the_carried_loop_agrees(check):
    status, out, runs = check("carried_loop")
    assert status == 0, out
    assert {run["case"]: run["status"] for run in runs if run["status"] != "agree"} == dict.fromkeys(
        ("lengths-zero", "lengths", "chunks-lengths"), "unsupported"
    )


def test_the_port_to_begin_from_agrees_in_every_case(check):
    status, out, runs = check("numpy_loop")
    assert status == 0, out
    assert {run["status"] for run in runs} == {"agree"}


def test_the_port_of_a_network_agrees_in_its_own_case(check):
    status, out, (run,) = check("bidirectional", "--case", PORTS / "network.toml")
    assert status == 0, out
    assert {"h_l1", "h_l1_reverse", "c_n_l0", "h_n_l1_reverse"} <= run["tensors"].keys()
    assert run["notes"] == []


def test_the_port_of_a_network_takes_any_number_of_layers_and_one_direction_too(check, tmp_path):
    text = (PORTS / "network.toml").read_text()
    for name, layers, direction in (("deep", 4, "bidirectional"), ("stack", 3, "forward")):
        changed = text.replace("num_layers = 2", f"num_layers = {layers}").replace("bidirectional", direction)
        (tmp_path / f"{name}.toml").write_text(changed)
    status, out, runs = check("bidirectional", "--case", tmp_path)
    assert status == 0, out
    assert len(runs) == 2


@pytest.mark.xdist_group("torch")
def test_the_port_with_gradients_agrees_in_every_case_of_one_layer_that_asks_for_them(check):
    cases = ("gradients", "gradients-float64", "lengths-edges", "float16", "bfloat16")
    named = [word for case in cases for word in ("--case", case)]
    status, out, runs = check("with_gradients", "--arrays", "torch", *named)
    assert status == 0, out
    assert {run["case"]: run["notes"] for run in runs} == {case: [] for case in cases}
    for run in runs:
        assert run["tensors"].keys() == {"h", "dx", "dW", "dR", "db", "dh0", "dc0"}
        assert max(tensor["worst"]["sigma"] for tensor in run["tensors"].values()) < 5
