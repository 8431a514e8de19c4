"""Objects of Keras, JAX, Flax and Equinox: each framework in a process of its own, as a check starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lockstep.harness.adapters.user_code import Target, UserCodeError
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.objects.build import PROBE as PROBE_SIZES
from lockstep.harness.ports.objects.build import Maker
from lockstep.harness.ports.port import Port

OBJECTS = Path(__file__).parents[3] / "planted_objects"
(PROBE,) = (found_case.case for found_case in find_cases(["probe"]))


def checked(file, name, **options):
    with Port(Target(OBJECTS / f"{file}.py", name), **options) as port:
        (run,) = check(port, [PROBE])
        return run, port.taken()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "MyLSTM", "WrongOrder"])
def test_layers_and_models_of_keras(name):
    pytest.importorskip("keras", reason="install the extra keras")
    run, taken = checked("keras_objects", name)
    assert taken.calls <= 60
    assert taken.called.startswith("x (B, T, I)")
    if name != "WrongOrder":
        assert run.status == "agree"
        return
    assert run.diagnosis[0].fault == "WRb:read-as-ifog"
    assert "`recurrent_kernel`" in run.diagnosis[0].message
    assert "as keras has them" in " ".join(taken.notes)


@pytest.mark.slow
def test_a_layer_of_keras_is_told_what_it_is_made_with():
    pytest.importorskip("keras", reason="install the extra keras")
    run, taken = checked("keras_objects", "LSTM", init="hidden_size, return_sequences=True, return_state=True")
    assert run.status == "agree"
    assert {array.known_by for array in taken.arrays} == {"names (keras)"}


@pytest.mark.slow
def test_a_class_of_arrays_of_jax():
    pytest.importorskip("jax", reason="install the extra jax")
    run, taken = checked("jax_objects", "JaxDict")
    assert run.status == "agree"
    assert {array.gates for array in taken.arrays} == set("ifgo")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flax_rnn", "FlaxModule", "EquinoxModule"])
def test_modules_of_flax_and_equinox(name):
    pytest.importorskip("flax", reason="install flax")
    pytest.importorskip("equinox", reason="install equinox")
    run, taken = checked("flax_objects", name)
    assert run.status == "agree"
    assert ("(c, h)" in taken.called) == (name != "EquinoxModule")


NUMPY_OBJECT = """
import numpy as np


class Own:
    def __init__(self, n_in, n_hidden, scale):
        self.W, self.U, self.b = np.ones((n_in, 4 * n_hidden)), np.ones((n_hidden, 4 * n_hidden)), np.ones(4 * n_hidden)

    def __call__(self, x, state):
        h, c = state
        s = lambda z: 1 / (1 + np.exp(-z))
        out = []
        for x_t in x:
            o, i, f, g = np.split(x_t @ self.W + h @ self.U + self.b, 4, 1)
            c = s(f) * c + s(i) * np.tanh(g)
            h = s(o) * np.tanh(c)
            out.append(h)
        return np.stack(out), (h, c)
"""


def test_the_command_tells_and_saves_what_was_taken_for_what(tmp_path, monkeypatch, lockstep):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(NUMPY_OBJECT)
    status, _, error = lockstep("check", "own.py:Own", "probe")
    assert status == 2
    assert "Own needs scale, of which nothing is known" in error
    status, out, _ = lockstep(
        "check", "own.py:Own", "probe", "--init", "input_size, hidden_size, 1.0", "--json", "own.json"
    )
    assert status == 0
    assert "W, of x, transposed" in out
    assert "o, i, f, g  measured" in out
    saved = json.loads(Path("own.json").read_text())
    assert saved["environment"]["object"]["arrays"][0]["gates"] == "oifg"


class Layer:
    """A layer of Keras as far as its making goes: it has weights from its first input on."""

    def __init__(self, input_size, hidden_size):
        self.sizes, self.weights = (input_size, hidden_size), []

    def __call__(self, *inputs):
        raise ValueError("there is no such file" if len(inputs) == 1 else "three axes are wanted")


Layer.__module__ = "keras.layers"


def test_of_a_layer_that_takes_neither_a_sequence_nor_a_step_the_first_error_is_told():
    with pytest.raises(UserCodeError, match=r"making Layer raised ValueError: there is no such file"):
        Maker(Layer, "Layer", None, {}).make(PROBE_SIZES)


def test_an_error_that_is_none_of_its_arguments_is_told_at_once(monkeypatch):
    calls = []

    def fails(*arguments):
        calls.append(arguments)
        raise OSError("disk full")

    monkeypatch.setattr(Layer, "__call__", fails)
    with pytest.raises(UserCodeError, match="OSError: disk full"):
        Maker(Layer, "Layer", None, {}).make(PROBE_SIZES)
    assert len(calls) == 1
