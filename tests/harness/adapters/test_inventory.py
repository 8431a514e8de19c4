"""Who shares which weights: roles, iterations, judgement and words, without any framework."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from lockstep.harness.adapters.inventory import (
    CELL,
    GET_VARIABLE,
    LAYER,
    OPTIMIZER,
    TF_VARIABLE,
    Around,
    Inventory,
    Made,
    Material,
    Read,
    inventory_of,
    iterations_text,
    readers_text,
    roles,
    scopes_of,
)
from lockstep.harness.comparison.results import encode
from lockstep.harness.output.variables_table import lines_of, show_variables
from lockstep.harness.text import shape_text


def made(name, *reads, stack=("f.py:1",), place="f.py:1", by=TF_VARIABLE, shape=(3,), **more):
    return Made(name, shape, "float32", stack=stack, place=place, made_by=by, reads=reads, **more)


def read(operation, turn=0, site=("f.py:9",), **more):
    return Read(operation, operation.rpartition("/")[2].partition("_")[0], site, (turn,), **more)


def judged(*variables, **more):
    return inventory_of(Material("TF1 graph", variables, **more), "f.py:build")


def groups_of(found):
    return [(group.verdict, group.variables) for group in found.groups]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["w", "w_1", "w_2"], ["w", "w", "w"]),
        (["w_1", "w_2"], ["w_1", "w_2"]),
        (["w_0", "w_1"], ["w_0", "w_1"]),
        (["dec/w", "dec_1/w"], ["dec/w", "dec/w"]),
        (["dec/w", "dec_1/w", "dec_1/w_1"], ["dec/w", "dec/w", "dec/w"]),
        (["a/cell_0/w", "a/cell_1/w", "a_1/cell_0/w"], ["a/cell_0/w", "a/cell_1/w", "a/cell_0/w"]),
        # A number is taken away only where the plain name stands in the same scope.
        (["a/w", "b/w_1"], ["a/w", "b/w_1"]),
        (["layer_1_1", "layer_1"], ["layer_1", "layer_1"]),
        ([], []),
    ],
)
def test_only_numbers_that_make_a_name_unique_are_taken_away(names, expected):
    found = roles(names, "from plain")
    assert [found[name] for name in names] == expected


def test_what_keras_numbers_needs_no_plain_name():
    assert set(roles(["dense_2/kernel", "dense_3/kernel"], "by type").values()) == {"dense/kernel"}


def test_what_one_stack_of_lines_makes_with_numbers_is_not_shared():
    found = judged(made("w"), made("w_1"))
    assert groups_of(found) == [("not shared", ("w", "w_1"))]
    assert found.groups[0].message == (
        "`w` is a new variable in each iteration (`w` and `w_1`), made at f.py:1 by tf.Variable: not shared."
    )


@pytest.mark.parametrize(
    "second",
    [
        made("w_1", stack=("f.py:2",), place="f.py:2"),
        made("w_1", shape=(4,)),
        made("v_1"),
        made("w/Adam_1", by=OPTIMIZER),
    ],
)
def test_other_lines_shapes_roles_and_an_optimizers_variables_are_no_repeats(second):
    assert groups_of(judged(made("w"), second)) == []


def test_one_line_that_is_reached_from_several_is_separate():
    found = judged(made("w", stack=("f.py:5", "f.py:1")), made("w_1", stack=("f.py:6", "f.py:1")))
    assert groups_of(found) == [("separate", ("w", "w_1"))]


def test_where_nobody_knows_what_made_them_variables_are_separate_and_slots_are_not_told():
    unknown = {"stack": (), "place": None, "by": None}
    names = ("w", "w_1", "w/Adam", "w/Adam_1")
    found = judged(*(made(name, **unknown) for name in names))
    assert groups_of(found) == [("separate", ("w", "w_1"))]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (TF_VARIABLE, "`tf.Variable` never reuses; use `tf.get_variable` under `reuse=tf.AUTO_REUSE`."),
        (GET_VARIABLE, 'each iteration opened its own (`a/dec_1`): enter it by its name, `tf.variable_scope("a/dec"'),
        (CELL, "make the cell once, before the loop, and call it at every step"),
        ("tf.layers.dense", '`tf.layers.dense` without a name is a new layer each time: give it one, `name="dec"'),
        (LAYER, "Make the layer once, before the loop, and call it at every step."),
        (None, "Make the layer once"),
    ],
)
def test_the_fix_follows_from_what_made_a_variable(by, words):
    (group,) = judged(made("a/dec/w", by=by), made("a/dec_1/w", by=by)).groups
    assert words in group.fix


def test_reads_at_one_site_are_numbered_in_order_over_all_variables_of_a_role():
    found = judged(made("w", read("MatMul", 1)), made("w_1", read("MatMul_1", 5)), made("w_2", read("MatMul_2", 9)))
    assert [v.iterations for v in found.variables] == [(0,), (1,), (2,)]


def test_reads_of_one_turn_are_of_one_iteration_unless_the_loop_has_one_line():
    reads = [read("MatMul", 1), read("MatMul_1", 1), read("MatMul_2", 4), read("MatMul_3", 4)]
    (v,) = judged(made("w", *reads)).variables
    assert [one.iteration for one in v.readers] == [0, 0, 1, 1]
    (v,) = judged(made("w", *(read(f"MatMul_{k}", 1) for k in range(3)))).variables
    assert [one.iteration for one in v.readers] == [0, 1, 2]


def test_other_types_sites_and_the_backward_pass_are_counted_apart():
    reads = [
        read("MatMul", 1), read("MatMul_1", 2), read("Add", 1), read("MatMul_2", 3, site=("f.py:20",)),
        read("grad/MatMul", 4, backward=True), read("grad/MatMul_1", 5, backward=True),
    ]  # fmt: skip
    (v,) = judged(made("w", *reads)).variables
    assert [one.iteration for one in v.readers] == [0, 1, None, None, 0, 1]
    assert readers_text(v) == "4: iterations 0, 1, and 2 of gradients"


@pytest.mark.parametrize(
    ("reads", "when"),
    [
        ([read("M", 1), read("M_1", 2)], "read in both iterations"),
        ([read(f"M_{k}", k) for k in range(20)], "read in all 20 iterations"),
        ([read("M", 1), read("N", 2)], "read by 2 operations"),
        ([read("M", around=(Around("while loop", "a/b"),))], "read in every round of the while loop `a/b`"),
    ],
)
def test_what_is_read_more_than_once_is_shared(reads, when):
    (group,) = judged(made("w", *reads)).groups
    assert (group.verdict, group.fix) == ("shared", None)
    assert group.message == f"`w` is one variable, {when}: shared."


def test_what_is_read_once_or_never_or_only_backward_is_neither():
    assert judged(made("w"), made("v", read("M")), made("u", read("M"), read("N", backward=True))).groups == ()
    branch = read("M", around=(Around("condition", "c"),))
    assert judged(made("w", branch)).groups == ()


def test_a_member_of_what_is_not_shared_is_not_called_shared_for_what_one_step_reads_twice():
    found = judged(made("w", read("M", 1), read("N", 1)), made("w_1", read("M_1", 2), read("N_1", 2)))
    assert groups_of(found) == [("not shared", ("w", "w_1"))]


def test_a_kernel_of_an_lstm_is_called_so():
    reads = read("M", 1), read("M_1", 2)
    for name in ("rnn/lstm_cell/kernel", "basic_lstm_cell/kernel", "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel"):
        assert judged(made(name, *reads)).groups[0].message.startswith(f"the LSTM kernel `{name}` is one variable")
    assert judged(made("my_lstm/kernel", *reads)).groups[0].message.startswith("`my_lstm/kernel`")


def test_names_of_one_tensor_are_told_and_copies_of_an_array_are_not_shared():
    tied = made("a.w", aliases=("b.w",))
    (group,) = judged(tied, numbers="in lists").groups
    assert group.message == "`a.w` and `b.w` are one variable under 2 names: shared."
    (group,) = judged(tied, numbers="in lists", loose=True).groups
    assert group.verdict == "not shared"
    assert "an update moves them apart" in group.message


def test_scopes_that_hold_no_variable_are_told_with_what_they_read():
    w = made("dec/rnn/w", read("dec/rnn/M", 1), read("dec_1/rnn/M", 2), read("dec_2/rnn/M", 3))
    assert [(scope.scope, scope.like, scope.reads) for scope in scopes_of([w])] == [
        ("dec_1", "dec", ("dec/rnn/w",)), ("dec_2", "dec", ("dec/rnn/w",)),
    ]  # fmt: skip
    # Where a scope holds a variable of its own, the one below it that does not is told.
    assert [scope.scope for scope in scopes_of([w, made("dec_1/v"), made("dec/v")])] == ["dec_1/rnn", "dec_2"]


def test_scopes_of_gradients_and_of_other_names_are_not_told():
    backward = read("dec_1/M", backward=True)
    assert scopes_of([made("dec/w", read("dec/M"), read("other_1/M"), read("loss/M"), backward)]) == []


def test_many_findings_of_one_kind_are_told_in_one_line():
    reads = read("M", 1), read("M_1", 2)
    found = judged(*(made(f"v{k}", *reads, stack=(f"f.py:{k}",)) for k in range(12)))
    lines = [line for kind, line in lines_of(found) if kind == "shared"]
    assert lines == ["`v0`, `v1`, ... `v11` (12 in all) are one variable each, read in both iterations: shared."]
    cells = [made(f"cells.{k}.{p}", role=f"cells.*.{p}", place=None) for k in range(2) for p in ("W", "R", "b")]
    lines = [line for kind, line in lines_of(judged(*cells, numbers="in lists")) if kind == "separate"]
    assert len(lines) == 1
    assert lines[0].startswith("`cells.0` and `cells.1` (W, R, b): each has weights of its own. If they are meant to")
    many = [made("dec/w", *(read(f"dec{f'_{k}' if k else ''}/M", k) for k in range(20)))]
    (line,) = [line for kind, line in lines_of(judged(*many)) if kind == "scope"]
    assert line.startswith("`dec_1/...`, `dec_2/...`, ... `dec_19/...` (19 in all) are only scopes of operations: they")


def test_the_last_line_is_the_sum():
    found = judged(made("w", read("M", 1)), made("w_1", read("M_1", 2)), made("v", read("N", 1), read("N_1", 2)))
    assert lines_of(found)[-1] == ("sum", "3 variables in the TF1 graph: 1 shared; 2 not shared, in 1 role.")


def test_readers_are_told_shortly():
    (v,) = judged(made("w", read("M", around=(Around("condition", "c"),)))).variables
    assert readers_text(v) == "1: in a branch of the condition c"
    found = judged(made("w"), made("v", read("M")), made("w/Adam", read("M"), by=OPTIMIZER))
    assert [readers_text(v) for v in found.variables] == ["nothing", "1", "an optimizer"]


def test_iterations_and_shapes_are_written_shortly():
    assert iterations_text([3]) == "iteration 3"
    assert iterations_text([0, 1]) == "iterations 0, 1"
    assert iterations_text([0, 1, 2, 5, 7, 8]) == "iterations 0-2, 5, 7, 8"
    assert [shape_text(shape) for shape in [(), (3,), (3, None)]] == ["()", "(3,)", "(3, ?)"]


def test_an_inventory_survives_json():
    found = judged(made("dec/w", read("dec/M", 1), read("dec_1/M", 2)), made("dec/v"), made("dec_1/v"))
    assert msgspec.json.decode(encode(found), type=Inventory) == found


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_is_shown_fits_the_terminal(width):
    long = "a_long_scope/and_another/of_the_decoder/lstm_cell/kernel"
    reads = [read(f"M_{k}", k, around=(Around("while loop", "a_long_scope/rnn/while/context"),)) for k in range(3)]
    found = judged(made(long, *reads), made("w"), made("w_1"), made(f"{long}_of_{long}"))
    shown = io.StringIO()
    show_variables(Console(file=shown, width=width), found)
    assert max(map(len, shown.getvalue().splitlines())) <= width
    assert "kernel" in shown.getvalue()
