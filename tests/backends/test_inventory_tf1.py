"""The variables of TF1 graphs: what a loop makes anew is found, what its author meant so raises no alarm."""

from __future__ import annotations

import pytest
from build_answers import PLANTED, Builds, line_of, summary

from lockstep.harness.adapters.inventory import CELL, GET_VARIABLE, LAYER, OPTIMIZER, TF_VARIABLE

FILE = PLANTED / "tf1.py"
pytestmark = pytest.mark.xdist_group("tensorflow")


@pytest.fixture(scope="module")
def builds(processes):
    pytest.importorskip("tensorflow", reason="install the extra tf")
    builds = Builds(processes)
    yield builds
    builds.process.close()


@pytest.fixture
def ask(builds):
    return lambda name: builds(FILE, name)


def variable(found, name):
    return next(v for v in found.variables if v.name == name)


def only(groups):
    (group,) = groups
    return group


def test_of_three_rounds_tf_variable_makes_three_and_get_variable_one(ask):
    found = ask("foo")
    assert summary(found) == {
        "names": ["foo/x", "foo/y", "foo/x_1", "foo/x_2"],
        "shared": [],
        "not shared": [["foo/x", "foo/x_1", "foo/x_2"]],
        "separate": [],
    }
    group = only(found.of("not shared"))
    place = line_of(FILE, 'name="x"')
    assert (group.role, group.shape, group.place, group.made_by) == ("foo/x", (), place, TF_VARIABLE)
    assert group.message == (
        f"`foo/x` is a new variable in each iteration (`foo/x`, `foo/x_1` and `foo/x_2`), made at {place} by "
        "tf.Variable: not shared."
    )
    assert group.fix == "`tf.Variable` never reuses; use `tf.get_variable` under `reuse=tf.AUTO_REUSE`."
    assert variable(found, "foo/y").made_by == GET_VARIABLE


def test_two_cells_under_auto_reuse_share_one_kernel_in_every_round_of_both_loops(ask):
    found = ask("two_cells")
    assert summary(found)["names"] == ["rnn/lstm_cell/kernel", "rnn/lstm_cell/bias"]
    kernel = found.variables[0]
    assert (kernel.shape, kernel.dtype, kernel.made_by) == ((6, 12), "float32", CELL)
    assert [one.within for one in kernel.readers] == [
        "in every round of the while loop rnn/while",
        "in every round of the while loop rnn_1/while",
    ]
    assert found.groups[0].message == (
        "the LSTM kernel `rnn/lstm_cell/kernel` is one variable, read in every round of the while loops `rnn/while` "
        "and `rnn_1/while`: shared."
    )
    assert [(scope.scope, scope.like, scope.reads) for scope in found.scopes] == [
        ("rnn_1", "rnn", ("rnn/lstm_cell/kernel", "rnn/lstm_cell/bias"))
    ]


@pytest.mark.parametrize("name", ["static", "loop"])
def test_an_unrolled_cell_is_read_once_in_each_iteration(ask, name):
    found = ask(name)
    for v in found.variables:
        assert [one.iteration for one in v.readers] == [0, 1, 2, 3, 4]
    assert [v.readers[0].type for v in found.variables] == ["MatMul", "BiasAdd"]
    assert found.groups[0].message.endswith("read in all 5 iterations: shared.")


@pytest.mark.parametrize(
    ("name", "pair", "made_by", "fix"),
    [
        (
            "new_cell_each_step", ["lstm_cell/kernel", "lstm_cell_1/kernel", "lstm_cell_2/kernel"], CELL,
            "make the cell once, before the loop, and call it at every step",
        ),
        ("uniquified_scope", ["dec/w", "dec_1/w"], GET_VARIABLE, 'tf.variable_scope("dec", reuse=tf.AUTO_REUSE)'),
        ("unnamed_dense", ["dense/kernel", "dense_1/kernel"], "tf.layers.dense", 'name="dense", reuse=tf.AUTO_REUSE'),
        ("new_keras_layer_each_step", ["dense/kernel", "dense_1/kernel"], LAYER, "Make the layer once"),
    ],
)  # fmt: skip
def test_the_fix_fits_how_a_variable_was_made(ask, name, pair, made_by, fix):
    found = ask(name)
    group = found.of("not shared")[0]
    assert list(group.variables) == pair
    assert group.made_by == made_by
    assert fix in group.fix
    assert [v.iterations for v in found.variables if v.name in pair] == [(k,) for k in range(len(pair))]
    assert "in each iteration" in group.message


@pytest.mark.parametrize(
    "name", ["layers_of_cells", "numbered_by_their_author", "dense_written_out", "both_directions", "other_shapes"]
)
def test_what_its_author_meant_raises_no_alarm(ask, name):
    found = ask(name)
    assert len(found.variables) > 1
    assert found.of("not shared") == []
    assert found.of("separate") == []


def test_layers_of_cells_are_each_read_in_every_iteration(ask):
    found = ask("layers_of_cells")
    assert {v.iterations for v in found.variables} == {(0, 1, 2, 3)}
    assert [v.name.split("/")[2] for v in found.variables] == ["cell_0", "cell_0", "cell_1", "cell_1"]


def test_what_a_helper_makes_each_time_is_separate_and_no_alarm(ask):
    found = ask("helper_called_twice")
    group = only(found.of("separate"))
    assert group.variables == ("w", "w_1")
    assert group.message == (
        f"`w` and `w_1` are made by one line, {line_of(FILE, 'return tf.Variable')}, which is reached from several: "
        "each has weights of its own."
    )
    assert found.of("not shared") == []


def test_training_saving_and_summaries_are_no_readers_and_slots_no_repeats(ask):
    found = ask("trained")
    w = variable(found, "w")
    assert [(one.type, one.iteration) for one in w.readers if not one.backward] == [("MatMul", 0), ("MatMul", 1)]
    assert any(one.backward for one in w.readers)
    assert {v.name for v in found.variables if v.made_by == OPTIMIZER} >= {"w/Adam", "w/Adam_1"}
    assert found.of("not shared") == []
    assert only(found.of("shared")).role == "w"


def test_readers_are_found_in_branches_and_functions(ask):
    (w,) = ask("branch").variables
    (reader,) = w.readers
    assert (reader.type, reader.within) == ("MatMul", "in a branch of the condition cond")
    (w,) = ask("inside_a_function").variables
    assert [(one.type, one.iteration) for one in w.readers] == [("MatMul", 0), ("MatMul", 1)]
    (w,) = ask("looked_up").variables
    assert [one.type for one in w.readers] == ["ResourceGather"]


def test_two_reads_in_one_step_are_of_one_iteration(ask):
    (w,) = ask("two_reads_in_a_step").variables
    assert [one.iteration for one in w.readers] == [0, 0, 1, 1, 2, 2]
    (w,) = ask("one_line_loop").variables
    assert [one.iteration for one in w.readers] == [0, 1, 2]


def test_a_variable_of_some_iterations_is_told_with_them(ask):
    found = ask("shared_by_halves")
    assert [v.iterations for v in found.variables] == [(0, 1), (2, 3)]
    (group,) = found.of("not shared")
    assert "is a new variable 2 times (`a/w` and `a_1/w`)" in group.message


def test_reference_variables_are_read_as_resources_are(ask):
    found = ask("reference_variables")
    assert variable(found, "s/w").iterations == (0, 1)
    assert summary(found)["not shared"] == [["s/v", "s/v_1"]]


@pytest.mark.parametrize("name", ["own_graph", "tensors_of_own_graph", "GRAPH"])
def test_a_graph_of_ones_own_is_taken(ask, name):
    assert len(ask(name).variables) == 4


def test_of_an_imported_graph_only_names_are_known_and_that_is_no_alarm(ask):
    found = ask("imported")
    group = only(found.of("separate"))
    assert (group.variables, group.place) == (("foo/x", "foo/x_1", "foo/x_2"), None)
    assert found.of("not shared") == []


def test_a_keras_model_that_is_built_among_graphs_is_taken_as_a_model(ask):
    assert ask("keras_model").kind == "tf_keras model"
    assert ask("keras_model").variables[0].iterations == (0, 1)
    assert ask("computes_while_it_is_made").kind == "tf_keras model"


def test_asking_twice_gives_the_same(ask):
    assert ask("new_keras_layer_each_step") == ask("new_keras_layer_each_step")


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("nothing", "wrong", "it returned nothing, and built nothing that has variables."),
        ("lost_graph", "wrong", "If it makes a graph of its own, let it return that."),
        ("returns_a_dict", "wrong", "it returned a dict, and built nothing that has variables."),
        ("returns_a_dict", "wrong", "Lockstep takes a function that builds a TF1 graph"),
        ("needs", "wrong", "needs arguments (x, weights), and is called without any"),
        ("needs", "wrong", "`def build(): return needs(...)`"),
        ("number", "wrong", "it is an int. Lockstep takes "),
        ("eager", "wrong", "its variables are eager ones (`top`), and eager code leaves no graph to read."),
        ("TOP", "wrong", "Make variables inside the function, by tf.compat.v1"),
        ("constants", "wrong", "the graph that it built holds 3 operations and no variable"),
        ("nohting", "wrong", 'Did you mean "nothing"?'),
        ("raises", "failed", "it raised ValueError in tf1.py, line "),
        ("uses_top", "failed", "a variable was made in eager mode, perhaps at the file's top level"),
        ("wants_numbers", "failed", "it is called while a tf.Graph is built, where tensors have no values yet"),
    ],
)
def test_what_cannot_be_listed_is_told_in_one_message(builds, name, status, message):
    found = builds.found(FILE, name)
    assert found.status == status
    assert message in found.message
    assert found.value is None


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("tensorflow", reason="install the extra tf")
    builds = Builds()  # a process of its own: the script switches the old behaviour on for all that is there
    yield lambda name: builds(PLANTED / "tf1_script.py", name)
    builds.process.close()


@pytest.mark.parametrize("name", ["logits", "train", "x"])
def test_of_a_script_any_of_its_tensors_names_the_graph(script, name):
    found = script(name)
    kernel, W = variable(found, "rnn/lstm_cell/kernel"), variable(found, "W")
    forward = [one for one in kernel.readers if not one.backward]
    assert [(one.type, one.within) for one in forward] == [("MatMul", "in every round of the while loop rnn/while")]
    forward = [one for one in W.readers if not one.backward]
    assert [(one.type, one.within) for one in forward] == [("MatMul", "in a branch of the condition cond")]
    assert any(one.backward for one in kernel.readers)
    assert found.of("not shared") == []


def test_old_loops_are_told_as_new_ones_are(script):
    found = script("build")
    assert summary(found)["names"] == [
        "scope/rnn/lstm_cell/kernel", "scope/rnn/lstm_cell/bias", "scope/b", "scope_1/b",
    ]  # fmt: skip
    assert summary(found)["not shared"] == [["scope/b", "scope_1/b"]]
    assert "in every round of the while loops `scope/rnn/while` and `scope_1/rnn/while`" in found.groups[0].message
    assert [scope.scope for scope in found.scopes] == ["scope_1/rnn"]
