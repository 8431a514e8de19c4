"""The parameters of torch modules: each once, with its names, and what a forward run reads."""

from __future__ import annotations

import pytest
from build_answers import PLANTED, Builds, line_of, summary

FILE = PLANTED / "torch_modules.py"
pytestmark = pytest.mark.xdist_group("torch")


@pytest.fixture(scope="module")
def builds():
    pytest.importorskip("torch", reason="install the extra torch")
    builds = Builds()
    yield builds
    builds.process.close()


@pytest.fixture
def ask(builds):
    return lambda name: builds(FILE, name)


def by_name(found):
    return {v.name: v for v in found.variables}


def test_cells_in_a_list_have_weights_of_their_own(ask):
    found = ask("CellPerStep")
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    assert summary(found)["separate"] == [[f"cells.0.{part}", f"cells.1.{part}"] for part in parts]
    assert found.of("separate")[0].message == (
        "`cells.0.weight_ih` and `cells.1.weight_ih`: each has weights of its own."
    )
    assert "make it once" in found.of("separate")[0].fix
    assert found.of("not shared") == []
    assert found.reads_known is False


def test_a_module_at_several_places_is_one_with_all_its_names(ask):
    for name in ("OneCell", "module"):
        found = ask(name)
        v = found.variables[0]
        assert (v.name, v.aliases) == ("cell.weight_ih", tuple(f"steps.{k}.weight_ih" for k in range(3)))
        assert len(found.variables) == 4
        assert "are one variable under 4 names: shared." in found.groups[0].message


def test_a_forward_run_counts_what_reads_each_parameter(ask):
    found = ask("one_cell_run")
    assert [v.iterations for v in found.variables] == [(0, 1, 2)] * 4
    assert found.groups[0].message.endswith("under 4 names, read in all 3 iterations: shared.")
    found = ask("cell_per_step_run")
    assert {len(v.readers) for v in found.variables} == {1}
    assert by_name(found)["cells.1.bias_hh"].readers[0].operation == "cells.1/lstm_cell"


def test_tied_weights_are_one_and_buffers_are_listed(ask):
    found = ask("tied_run")
    v = by_name(found)["embed.weight"]
    assert v.aliases == ("out.weight",)
    assert [one.operation for one in v.readers] == ["embed/embedding", "out/linear"]
    assert by_name(found)["norm.running_mean"].trainable is False
    assert by_name(found)["norm.running_mean"].readers


def test_a_layer_over_time_reads_at_every_timestep_and_two_lines_of_a_step_are_one_iteration(ask):
    found = by_name(ask("sequence_run"))
    assert found["lstm.weight_hh_l1"].readers[0].within == "in every timestep of the loop inside lstm"
    assert found["W"].iterations == (0, 1, 2, 3)
    # Layers of nn.LSTM are no repeats.
    assert ask("sequence_run").of("separate") == []


def test_what_is_made_in_forward_is_new_at_every_call_and_told_with_its_line(ask):
    found = ask("made_in_forward_run")
    assert [v.name for v in found.variables] == ["a.weight", "a.bias"]
    (group,) = found.of("not shared")
    line = line_of(FILE, "x = nn.Linear(3, 3)(self.a(x))")
    assert group.message == (
        f"`Linear.weight` and `Linear.bias`, made at {line}, are new at every call of forward, 2 times in a call: not "
        "shared, and no optimizer trains what is gone after the call."
    )
    assert (group.place, group.fix) == (line, "Make the layer once, in __init__, and call it in forward.")
    assert found.notes == ()
    # A module that holds nothing at all has that to be told of.
    (group,) = ask("functional_run").of("not shared")
    assert group.variables == ("Linear.weight", "Linear.bias")


def test_modules_in_plain_lists_are_not_registered(ask):
    found = ask("in_a_list_run")
    cells, heads, scales, outside = found.of("not registered")
    assert cells.message.startswith(
        "`cells[0].weight_ih`, `cells[0].weight_hh`, ... `cells[1].bias_hh` (8 in all) stand in "
    )
    assert "the plain list `cells`: not registered, so no optimizer trains them, to() does not move" in cells.message
    assert (cells.fix, heads.fix) == ("Put them into nn.ModuleList.", "Put them into nn.ModuleDict.")
    assert heads.variables == ("heads['out'].weight", "heads['out'].bias")
    assert (scales.variables, scales.fix) == (("scales[0]",), "Put them into nn.ParameterList.")
    assert "is the same at every call, and no module holds it: not registered" in outside.message
    assert found.of("not shared") == []
    # Seen without a run too, but for what nothing but a run shows.
    found = ask("in_a_list")
    assert [group.role for group in found.of("not registered")] == [
        "cells[0].weight_ih",
        "heads['out'].weight",
        "scales[0]",
    ]
    assert "unknown without a run" in found.notes[0]


def test_a_list_of_what_is_registered_elsewhere_is_no_fault(ask):
    found = ask("aliased_run")
    assert (found.of("not registered"), found.of("not shared"), found.notes) == ([], [], ())


def test_what_a_second_run_does_not_show_is_said_to_be_unknown(ask):
    found = ask("only_once_run")
    assert [v.name for v in found.variables] == ["a.weight", "a.bias", "b.weight", "b.bias"]
    (note,) = found.notes
    assert note.startswith("A second forward run raised RuntimeError: whether what no module holds is the same")
    (group,) = found.of("not shared")
    assert group.place == line_of(FILE, "return self.b(nn.Linear(3, 3)(self.a(x)))")


def test_a_layer_made_in_forward_is_found_wherever_the_run_begins():
    """A command's process is forked where one is started: the caller's frames are below those of the run."""
    torch = pytest.importorskip("torch")
    from lockstep.backends import inventory_torch

    class InForward(torch.nn.Module):
        def forward(self, x):
            return torch.nn.LSTM(3, 4)(x)[0]

    class Starts:
        def __init__(self):
            self.material = inventory_torch.material((InForward(), (torch.ones(2, 1, 3),)), None)

    (group,) = Starts().material.judged
    assert group.verdict == "not shared"
    assert "`LSTM.bias_hh_l0`, made at " in group.message
    assert "are new at every call of forward" in group.message


def test_of_a_module_that_holds_nothing_and_was_not_run_it_is_unknown_what_it_makes(ask):
    found = ask("empty")
    assert (found.variables, found.groups) == ((), ())
    (note,) = found.notes
    assert note == "Whether forward makes layers of its own is unknown without a run: return (module, inputs)."


def test_layers_that_follow_each_other_are_no_repeats(ask):
    assert ask("layers").groups == ()


def test_a_lazy_module_is_listed_once_it_has_run(ask):
    assert ask("lazy_run").variables[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("empty_run", "wrong", "it is a torch module without parameters: there is nothing to share."),
        ("lazy", "wrong", "weight has no shape yet: run the lazy module once, or return (module, inputs)."),
        ("wrong_inputs", "failed", "reading it raised RuntimeError in torch_modules.py, line "),
    ],
)
def test_what_cannot_be_listed_is_told_in_one_message(builds, name, status, message):
    found = builds.found(FILE, name)
    assert found.status == status
    assert message in found.message
