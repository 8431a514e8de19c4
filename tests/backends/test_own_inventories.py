"""Every backend's own variables: one kernel, one bias for each layer and direction, whatever T is."""

from __future__ import annotations

import pytest
from build_answers import PLANTED, Builds

FILE = PLANTED / "own_backends.py"
LANES = {"plain": 1, "network": 4, "gradients": 4}
pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.fixture(scope="module")
def builds(processes):
    for name in ("tensorflow", "torch"):
        pytest.importorskip(name, reason="install the extras tf and torch: their backends are looked at")
    builds = Builds(processes, timeout=200)
    yield builds
    builds.process.close()


@pytest.mark.parametrize("T", [1, 3, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("network", LANES)
@pytest.mark.parametrize("backend", ["tf_loop", "tf_static_rnn", "tf_dynamic_rnn"])
def test_a_graph_has_one_kernel_and_one_bias_per_lane_and_reads_them_at_every_timestep(builds, backend, network, T):
    found = builds(FILE, f"{backend}_{network}_{T}")
    names = [v.name.rpartition("/")[2] for v in found.variables]
    assert sorted(names) == ["bias"] * LANES[network] + ["kernel"] * LANES[network]
    assert found.of("not shared") == []
    for v in found.variables:
        forward = [one for one in v.readers if not one.backward]
        if backend == "tf_dynamic_rnn":
            assert {one.within.rpartition(" ")[0] for one in forward} == {"in every round of the while loop"}
        else:
            assert len(forward) == T
            assert v.iterations == (tuple(range(T)) if T > 1 else ())
        assert any(one.backward for one in v.readers) == (network == "gradients" and "kernel" in v.name)


@pytest.mark.parametrize("network", LANES)
def test_the_module_of_torch_has_its_parameters_once_per_lane(builds, network):
    found = builds(FILE, f"torch_lstm_{network}")
    assert len(found.variables) == 4 * LANES[network]
    assert found.of("not shared") == found.of("separate") == []
    assert not any(v.aliases for v in found.variables)


PROJECTIONS = ["W_a", "W_target", "W_tilde", "b_tilde"]


@pytest.mark.parametrize("T", [1, 3, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["tf_attention_reuse", "tf_attention_cell"])
def test_a_decoder_has_each_weight_once_whatever_its_steps_are(builds, backend, T):
    found = builds(FILE, f"{backend}_{T}")
    names = sorted(v.name.rpartition("/")[2] for v in found.variables)
    assert names == sorted([*PROJECTIONS, "bias", "kernel"])
    assert found.of("not shared") == []
    for v in found.variables:
        if v.name.rpartition("/")[2] in PROJECTIONS:
            assert len([one for one in v.readers if not one.backward]) == T


@pytest.mark.slow  # the static graph of a whole decoder
def test_the_module_of_a_decoder_has_each_weight_once(builds):
    found = builds(FILE, "torch_attention_decoder")
    assert sorted(v.name for v in found.variables) == sorted([
        "lstm_cell.weight_ih", "lstm_cell.weight_hh", "lstm_cell.bias_ih", "lstm_cell.bias_hh",
        "attention.W_a.weight", "combine.weight", "combine.bias", "project.weight",
    ])  # fmt: skip
    assert found.of("not shared") == found.of("separate") == []
