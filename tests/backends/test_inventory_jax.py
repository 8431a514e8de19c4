"""The variables of Flax and Equinox modules."""

from __future__ import annotations

import pytest
from build_answers import PLANTED, Builds, summary

FLAX, EQUINOX = PLANTED / "flax_modules.py", PLANTED / "equinox_modules.py"
pytestmark = pytest.mark.xdist_group("jax")


@pytest.fixture(scope="module")
def builds():
    builds = Builds()
    yield builds
    builds.process.close()


@pytest.fixture
def flax(builds):
    pytest.importorskip("flax", reason="pip install flax: these modules are Flax's")
    return lambda name: builds(FLAX, name)


@pytest.fixture
def equinox(builds):
    pytest.importorskip("equinox", reason="pip install equinox: these modules are Equinox's")
    return lambda name: builds(EQUINOX, name)


def test_an_nnx_module_lists_each_variable_once_with_all_its_names(flax):
    found = flax("Decoder")
    assert found.kind == "Flax nnx module"
    names = [v.name for v in found.variables]
    assert len(names) == len(set(names)) == 12 * 2 + 2 + 4
    assert [group.message for group in found.of("shared")] == [
        f"`out.{part}` and `again.{part}` are one variable under 2 names: shared." for part in ("kernel", "bias")
    ]
    assert ["cells.0.ii.kernel", "cells.1.ii.kernel"] in summary(found)["separate"]
    # The state of random numbers is no weight; the layers of a Sequential follow each other.
    assert not [name for name in names if name.startswith("drop")]
    assert not [names for names in summary(found)["separate"] if names[0].startswith("stack")]


def test_what_linen_numbers_has_weights_of_its_own_and_a_shared_module_is_listed_once(flax):
    found = flax("with_variables")
    assert summary(found)["separate"] == [["Dense_0/bias", "Dense_1/bias"], ["Dense_0/kernel", "Dense_1/kernel"]]
    assert [v.name for v in found.variables if v.name.startswith("shared")] == ["shared/bias", "shared/kernel"]


def test_parameters_of_a_scan_are_told_as_one_set_for_each_timestep_where_they_are(flax):
    found = flax("by_timestep")
    (group,) = found.of("separate")
    assert len(group.variables) == len(found.variables) == 12
    assert group.message.endswith(
        "have a leading axis of 5: one set of weights for each timestep of a scan, not one for all."
    )
    assert "variable_broadcast" in group.fix
    (group,) = flax("by_layer").of("separate")
    assert group.message.endswith("one set of weights for each step of a scan over layers.")
    shared = flax("once_for_all")
    assert (shared.groups, shared.notes) == ((), ())
    (note,) = flax("by_timestep_without_inputs").notes
    assert "has a leading axis of 5, as `nn.scan` with variable_axes makes" in note
    assert "is unknown without inputs: return (module, variables, inputs)." in note
    (note,) = flax("stacked").notes
    assert note.startswith("`layers` has weights with a leading axis of 5, as nnx.vmap and nnx.scan over modules make")
    assert note.endswith("Whether its steps are timesteps or layers is unknown.")


@pytest.mark.usefixtures("flax")
def test_a_linen_module_alone_is_told_to_bring_its_variables(builds):
    found = builds.found(FLAX, "alone")
    assert found.status == "wrong"
    assert "return (module, variables)" in found.message


def test_an_equinox_module_lists_its_leaves(equinox):
    found = equinox("Decoder")
    assert found.kind == "Equinox module"
    assert ["cells[0].weight_ih", "cells[1].weight_ih"] in summary(found)["separate"]
    assert not [names for names in summary(found)["separate"] if names[0].startswith("mlp")]


def test_one_array_at_two_places_of_an_equinox_module_is_not_shared_for_long(equinox):
    found = equinox("same_layer_twice")
    group = found.of("not shared")[0]
    assert "`a.weight` and `b.weight` are one array now, and leaves of their own" in group.message
    assert "equinox.nn.Shared" in group.fix


@pytest.mark.usefixtures("equinox")
def test_an_equinox_module_without_arrays_is_told(builds):
    found = builds.found(EQUINOX, "nothing")
    assert (found.status, found.message) == (
        "wrong",
        "it is an Equinox module without parameters: there is nothing to share.",
    )
