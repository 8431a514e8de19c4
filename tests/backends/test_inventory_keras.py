"""The weights of Keras models, Keras 3 and tf_keras: shared layers once, with their calls."""

from __future__ import annotations

import pytest
from build_answers import PLANTED, Builds, summary

FILE = PLANTED / "keras_models.py"
pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.fixture(scope="module")
def builds():
    pytest.importorskip("tf_keras", reason="install the extra tf")
    builds = Builds()
    yield builds
    builds.process.close()


@pytest.fixture
def ask(builds):
    return lambda name: builds(FILE, name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("functional", "keras model"), ("functional_tf_keras", "tf_keras model"), ("model", "keras model")],
)
def test_a_shared_layer_is_listed_once_and_read_at_each_call(ask, name, kind):
    found = ask(name)
    assert found.kind == kind
    assert len(found.variables) == 7
    first, kernel = found.variables[0], found.variables[2]
    assert (first.shape, first.iterations) == ((3, 3), (0, 1))
    assert kernel.name.endswith("lstm_cell/kernel")
    assert kernel.readers[0].within.startswith("in every timestep of the loop inside lstm")
    assert found.of("not shared") == []


def test_layers_that_keras_numbers_have_weights_of_their_own(ask):
    kernels, biases = summary(ask("stack"))["separate"]
    assert [name.rpartition("/")[2] for name in kernels + biases] == ["kernel", "kernel", "bias", "bias"]


def test_a_layer_alone_is_listed_without_readers(ask):
    found = ask("layer")
    assert (found.kind, len(found.variables), found.reads_known) == ("keras layer", 3, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unbuilt", "has no weights yet: call it once on an input, or its build(input_shape)."),
        ("relu", "it is a keras layer without parameters: there is nothing to share."),
    ],
)
def test_what_cannot_be_listed_is_told_in_one_message(builds, name, message):
    found = builds.found(FILE, name)
    assert found.status == "wrong"
    assert message in found.message
