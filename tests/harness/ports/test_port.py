"""Ports: whatever a user's function does costs only the call at which it does it, and the message helps."""

from __future__ import annotations

import ast
import functools
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lstm_cases import make_case
from numpy.testing import assert_allclose, assert_array_equal
from values_alone import forward

from lockstep.harness.adapters import user_calls
from lockstep.harness.adapters.user_code import Target, parse_target
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.compare import compare, limit_for
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.ports.port import LocalPort, Port, port_of
from lockstep.harness.reference.expect import expect

PLANTED = Path(__file__).parents[2] / "planted_ports"


def make_problem(**settings):
    return Problem.from_case(make_case(**settings))


PROBLEM = make_problem(timesteps=4)
LONG = make_problem(timesteps=7)


def last_line(name):
    """Give the last line of a function in misbehaves.py: there it does what it should not."""
    body = ast.parse((PLANTED / "misbehaves.py").read_text()).body
    return next(node.end_lineno for node in body if getattr(node, "name", None) == name)


class Asked:
    """One process that serves one planted function after the other."""

    def __init__(self, **options):
        self.port = Port(Target(PLANTED / "plain.py", "port"), **options)

    def __call__(self, name, *problems, file="misbehaves"):
        self.port._target = Target(PLANTED / f"{file}.py", name)
        replies = self.port.call(problems or (PROBLEM,))
        return replies if len(replies) > 1 else replies[0]


@pytest.fixture(scope="module")
def ask():
    asked = Asked(timeout=20)
    yield asked
    asked.port.close()


@pytest.fixture(autouse=True)
def _later_calls_work(request):
    yield
    if "ask" in request.fixturenames:
        ask = request.getfixturevalue("ask")
        assert_right(ask("port", file="plain"))


def assert_right(reply, problem=PROBLEM):
    assert reply.status == "ran", reply.message
    expected = forward(problem)
    assert_allclose(reply.trace.h, expected["h"], atol=1e-6)
    if reply.trace.c is not None:
        assert_allclose(reply.trace.c, expected["c"], atol=1e-6)
    assert all(a.dtype == problem.case.run.dtype for a in reply.trace.tensors().values())


def test_a_healthy_port_gives_h_and_c_without_notes(ask):
    reply = ask("port", file="plain")
    assert_right(reply)
    assert reply.trace.c is not None
    assert (reply.notes, reply.message, reply.stderr) == ((), None, None)
    assert 0 < reply.seconds["run"] < 5


def test_problems_of_any_shape_and_dtype_go_in_one_list(ask):
    problems = [PROBLEM, LONG, make_problem(dtype="float64"), make_problem(batch=1, hidden_size=1)]
    for problem, reply in zip(problems, ask("port", *problems, file="plain"), strict=True):
        assert_right(reply, problem)
    assert ask.port.call([]) == []


def test_lengths_are_passed_where_the_problem_has_them(ask):
    problem = make_problem(lengths=(3, 5))
    assert_right(ask("port", problem, file="plain"), problem)
    assert_right(ask("insists_on_lengths", problem, file="plain"), problem)
    assert_right(ask("insists_on_lengths", file="plain"))


def test_a_port_without_lengths_is_unsupported_where_the_problem_has_them(ask):
    refused, ran = ask("without_lengths", make_problem(lengths=(3, 5)), PROBLEM, file="plain")
    assert refused.status == "unsupported"
    assert "add `lengths=None`" in refused.message
    assert_right(ran)


def test_an_object_that_can_be_called_is_a_port(ask):
    assert_right(ask("instance", file="plain"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two_arguments", "(x, weights), and it is called as port(x, weights, h0, c0, lengths=None): it takes 2 of"),
        ("other_order", "(x, h0, c0, weights), and it is called as"),
        ("other_order", "put them in that order"),
        ("one_more", "nothing is known of mask, training; give it a default"),
        ("not_a_function", "not_a_function in plain.py is a dict, not a function"),
        ("prot", 'plain.py: no function is called "prot". Did you mean "port"? There are: sigmoid, port'),
    ],
)
def test_a_function_that_cannot_be_called_as_a_port_is_told_why(ask, name, message):
    reply = ask(name, file="plain")
    assert reply.status == "failed"
    assert message in reply.message


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("lists", "came as float64 where the case is float32: converted"),
        ("by_name", None),
        ("named_tuple", None),
        ("alone", "returned h_seq alone: c is not compared"),
        ("steps", "returned h_seq alone: c is not compared"),
        ("no_c", "it returned None for c_seq: c is not compared"),
        ("final_c", "c comes as the final state only"),
        ("as_torch_does", "c comes as the final state only"),
        ("three", "c comes as the final state only"),
        ("doubles", "h_seq, c_seq came as float64 where the case is float32: converted"),
    ],
)
def test_results_are_taken_in_many_forms_with_a_note_on_what_was_done(ask, name, note):
    reply = ask(name, file="returns")
    assert_right(reply)
    assert note in " ".join(reply.notes) if note else reply.notes == ()


def test_final_states_are_read_as_such(ask):
    expected = forward(PROBLEM)
    for name in ("final_c", "three", "as_torch_does"):
        trace = ask(name, file="returns").trace
        assert trace.c is None
        assert_allclose(trace.c_n, expected["c_n"], atol=1e-6)
        assert (trace.h_n is None) == (name == "final_c")


def test_two_timesteps_in_a_list_are_no_pair(ask):
    problem = make_problem(timesteps=2)
    assert_right(ask("steps", problem, file="returns"), problem)


def test_half_precision_is_converted(ask):
    reply = ask("halves", file="returns")
    assert reply.trace.h.dtype == np.float32
    assert "h_seq, c_seq came as float16" in reply.notes[0]


def test_what_is_not_finite_is_a_note(ask):
    reply = ask("nan", file="returns")
    assert reply.notes == ("h_seq holds nan, first at h_seq[2, 1, 0]",)
    assert np.isnan(reply.trace.h[2, 1, 0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other_names", "it returned a dict of output, memory: expected h_seq and c_seq"),
        ("four", "it returned a tuple of 4: expected (h_seq, c_seq)"),
        ("batch_major", "h_seq has shape (2, 4, 5), expected (T, B, H) = (4, 2, 5): batch-major? time comes first"),
        ("units_first", "axes in the order (H, T, B)?"),
        ("all_gates", "h_seq has shape (4, 2, 20), expected (T, B, H) = (4, 2, 5): all four gates?"),
        ("last_step", "only the last timestep?"),
        ("stacked", "h and c stacked? return them apart"),
        ("with_initial", "with the initial state?"),
        ("the_input", "as wide as the input: was x returned?"),
        ("ragged", "h_seq is a list whose parts differ in shape: (2, 5), (1, 5)"),
        ("whole_numbers", "h_seq is int64, which holds no fractions"),
        ("complex_numbers", "h_seq is complex128, expected float32"),
        ("objects", "h_seq has dtype object: are its parts of different shapes"),
        ("a_word", "h_seq is a str, expected an array of shape (4, 2, 5)"),
        ("a_number", "h_seq has shape (), expected (T, B, H)"),
        ("a_function", "it returned a function, not its results: is a call missing?"),
        ("unreadable", "h_seq is a Unreadable that cannot be read as an array: NoText"),
        ("nothing", "it returns nothing: is `return` missing?"),
        ("yields", "it is a generator, since it has `yield`"),
        ("waits", "it returns a coroutine"),
    ],
)
def test_what_is_no_result_is_recognised(ask, name, message):
    reply = ask(name, make_problem(timesteps=4, hidden_size=5), file="returns")
    assert (reply.status, reply.trace) == ("failed", None)
    assert message in reply.message


def test_a_missing_batch_axis_is_recognised(ask):
    assert "squeezed? the batch axis" in ask("squeezed", make_problem(batch=1), file="returns").message


@pytest.mark.parametrize(
    ("name", "message", "stderr"),
    [
        ("raises", "it raised ValueError in misbehaves.py, line N: matmul", "on the way"),
        ("raises", "it raised ValueError", 'return x @ weights["R"]'),
        ("asks_for_key", "it raised KeyError in misbehaves.py, line N: 'kernel'", ""),
        ("raises_nameless", "it raised Nameless in misbehaves.py, line N: (its text cannot be made)", ""),
        ("recurses", "it raised RecursionError in misbehaves.py", ""),
        ("interrupts", "it raised KeyboardInterrupt", ""),
        ("times_out", "it raised TimeoutError", ""),
        ("exits", "it called sys.exit(3) in misbehaves.py, line N: return instead", ""),
        ("reads_stdin", "it raised EOFError in misbehaves.py, line N: EOF when reading a line (a port has no", ""),
    ],
)
def test_what_a_port_raises_is_told_with_its_line_in_the_users_file(ask, name, message, stderr):
    reply = ask(name)
    assert reply.status == "failed"
    assert message.replace("line N", f"line {last_line(name)}") in reply.message
    assert stderr in reply.stderr
    assert "serve_port.py" not in reply.stderr


def test_a_long_message_is_cut(ask):
    reply = ask("raises_at_length")
    assert len(reply.message) < 1000
    assert len(reply.stderr) <= 4000


@pytest.mark.parametrize(
    ("name", "message", "stderr"),
    [
        ("dies", "its process ended with exit status 3 (does it call os._exit?)", ""),
        ("dies_with_zero", "its process ended with exit status 0 (does it call os._exit?)", ""),
        ("segfaults", "killed by SIGSEGV, in misbehaves.py, line N, in segfaults", "last words"),
    ],
)
def test_a_port_that_ends_its_process_costs_its_own_call(ask, name, message, stderr):
    reply = ask(name)
    assert reply.status == "crashed"
    assert message.replace("line N", f"line {last_line(name)}") in reply.message
    assert stderr in (reply.stderr or "")
    assert "serve_port.py" not in (reply.stderr or "")


def test_a_death_in_the_middle_leaves_the_calls_around_it(ask):
    problems = [PROBLEM, LONG, PROBLEM, PROBLEM]
    replies = ask("dies_of_long_sequences", *problems)
    assert [reply.status for reply in replies] == ["ran", "crashed", "ran", "ran"]
    assert_right(replies[3])


def test_after_three_deaths_the_rest_are_answered_alike(ask):
    started = time.monotonic()
    replies = ask("dies_of_long_sequences", PROBLEM, *[LONG] * 50, PROBLEM)
    assert time.monotonic() - started < 20
    assert [reply.status for reply in replies] == ["ran"] + ["crashed"] * 51


@pytest.mark.parametrize("name", ["hangs", "hangs_and_prints", "hangs_deaf"])
def test_a_port_that_hangs_is_ended_and_says_where(name):
    asked = Asked(timeout=1)
    with asked.port:
        reply = asked(name)
        assert reply.status == "timeout", reply
        lines = (last_line(name) - 1, last_line(name))  # a loop is at its head or in its body
        assert reply.message in [f"not done after 1 s, in misbehaves.py, line {line}, in {name}" for line in lines]
        assert reply.stderr.rpartition('File "')[2].endswith(f"in {name}\n")  # our own frames are cut off
        assert_right(asked("port", file="plain"))


def test_the_time_out_is_of_one_call_not_of_the_list():
    asked = Asked(timeout=1)
    with asked.port:
        started = time.monotonic()
        replies = asked("hangs_on_long_sequences", PROBLEM, PROBLEM, LONG, PROBLEM)
        assert [reply.status for reply in replies] == ["ran", "ran", "timeout", "ran"]
        assert time.monotonic() - started < 15


def test_what_a_port_prints_is_kept_and_stays_out_of_the_way(ask, capfd):
    reply = ask("prints")
    assert_right(reply)
    assert reply.notes == ("it prints to stdout",)
    assert "h is ...\n" in reply.stderr
    assert "raw bytes" in reply.stderr
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["prints_lone_surrogates", "starts_threads", "forks"])
def test_odd_habits_break_nothing(ask, name):
    assert_right(ask(name))


@pytest.mark.parametrize("name", ["closes_stdout", "closes_descriptors", "replaces_stdout", "sets_all_strict"])
def test_what_a_port_does_to_its_own_process_does_not_end_the_calls(name):
    asked = Asked(timeout=20)
    with asked.port:
        assert asked(name).status == "ran"
        for reply in (*asked("prints", PROBLEM, PROBLEM), asked(name)):
            assert reply.status == "ran", reply.message


def test_monkeypatching_the_standard_library_costs_its_own_calls():
    asked = Asked(timeout=20)
    with asked.port:
        assert_right(asked("monkeypatches"))
        assert_right(asked("monkeypatches"))


def test_an_alarm_or_a_thread_that_strikes_later_costs_no_other_call(ask):
    assert_right(ask("sets_alarm"))
    assert_right(ask("dies_later"))
    time.sleep(1.2)
    assert_right(ask("port", file="plain"))


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("changes_x", "it changed its argument x in place"),
        ("changes_weights", "it changed its argument weights (W, R, b, bias) in place"),
        ("reshapes_h0", "it changed its argument h0 in place"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_port_that_changes_its_arguments_is_noted_and_harms_nobody(ask, name, note):
    first, second = ask(name, PROBLEM, PROBLEM)
    assert_right(first)
    assert_right(second)
    assert note in first.notes


def test_a_port_remembers_between_calls(ask):
    first, second = ask("remembers", PROBLEM, PROBLEM)
    assert (first.trace.h == 1).all()
    assert (second.trace.h == 2).all()
    assert (ask("remembers").trace.h == 3).all()


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\ndef port(x:\n    pass", "mine.py, line 2: SyntaxError: "),
        ("\nimport no_such_framework", "importing it needs no_such_framework in mine.py, line 2, which is neither"),
        ("1 / 0", "importing it raised ZeroDivisionError in mine.py, line 1: division by zero"),
        ("import sys\nsys.exit('usage')", "importing it called sys.exit(usage) in mine.py, line 2: guard"),
        ("from .cells import port", "(its folder has no __init__.py: import what lies beside it by its plain name)"),
        ("raise KeyboardInterrupt", "importing it raised KeyboardInterrupt in mine.py, line 1"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_why(ask, tmp_path, text, message):
    ask.port._target = Target(write(tmp_path, "mine.py", text), "port")
    replies = ask.port.call([PROBLEM, PROBLEM])
    assert [reply.status for reply in replies] == ["failed", "failed"]
    assert message in replies[0].message


def test_a_file_that_ends_or_hangs_its_import_is_told_so(ask, tmp_path, monkeypatch):
    ask.port._target = Target(write(tmp_path, "dies.py", "import os\nos._exit(7)"), "port")
    (reply,) = ask.port.call([PROBLEM])
    assert (reply.status, reply.message[:19]) == ("crashed", "while importing it:")
    monkeypatch.setattr(user_calls, "IMPORT_TIMEOUT", 1)
    ask.port._target = Target(write(tmp_path, "hangs.py", "while True: pass"), "port")
    (reply,) = ask.port.call([PROBLEM])
    assert reply.status == "timeout"
    assert reply.message.startswith("while importing it: not done after 1 s")


def test_a_file_is_imported_like_a_script(tmp_path):
    (tmp_path / "helper.py").write_text("from pathlib import Path\nhere = Path.cwd()")
    text = (
        "import sys\nfrom dataclasses import dataclass\nimport helper\n"
        "@dataclass\nclass State:\n    h: 'list[int]'\n"
        f"assert __name__ == 'my-lstm', __name__\nassert sys.path[0] == {str(tmp_path)!r}\n"
        f"assert str(helper.here) == {str(Path.cwd())!r}\n"
        "def port(x, weights, h0, c0): return x[..., :1].repeat(h0.shape[1], 2)"
    )
    with Port(Target(write(tmp_path, "my-lstm.py", text), "port")) as port:
        (reply,) = port.call([PROBLEM])
    assert reply.status == "ran", reply.message


def test_a_file_of_a_package_may_import_relatively(ask):
    assert_right(ask("port", file="package/lstm"))


def test_where_there_is_no_package_a_relative_import_is_told_what_to_be(tmp_path):
    target = Target(write(tmp_path, "alone.py", "from . import helper\ndef port(x, weights, h0, c0): return x"), "port")
    with Port(target) as port:
        (reply,) = port.call([PROBLEM])
    assert reply.message.endswith("its folder has no __init__.py: import what lies beside it by its plain name)")


def test_weights_come_as_the_layout_stores_them(tmp_path):
    text = (
        "def port(x, weights, h0, c0):\n"
        "    raise ValueError(*sorted((name, array.shape) for name, array in weights.items()))"
    )
    target = Target(write(tmp_path, "tells.py", text), "port")
    with Port(target, layout="keras") as port:
        assert (
            "(('bias', (16,)), ('kernel', (3, 16)), ('recurrent_kernel', (4, 16)))" in port.call([PROBLEM])[0].message
        )
    seen = []
    torch = LocalPort(lambda x, weights, h0, c0: seen.append(weights) or x, layout="torch")
    torch.call([PROBLEM])
    assert_array_equal(seen[0]["bias_ih_l0"] + seen[0]["bias_hh_l0"], PROBLEM.b)
    assert seen[0]["bias_hh_l0"].all()


def test_torch_gets_and_gives_tensors():
    pytest.importorskip("torch", reason="install the extra torch")
    asked = Asked(timeout=60, arrays="torch", layout="torch")
    with asked.port:
        reply = asked("torch_lstm", file="frameworks")
        assert_right(reply)
        assert reply.trace.c is None
        wide = make_problem(dtype="float64")
        assert_right(asked("torch_lstm", wide, file="frameworks"), wide)
        packed = asked("torch_packed", file="frameworks")
        assert "h_seq is a PackedSequence: unpack it with" in packed.message
    asked = Asked(timeout=60, arrays="torch")
    with asked.port:
        reply = asked("torch_changes_c0", file="frameworks")
        assert reply.status == "ran", reply.message
        assert "it changed its argument c0 in place" in reply.notes
        assert "h_seq came as bfloat16 where the case is float32: converted" in reply.notes


def test_networks_of_torch_go_in_and_out_in_every_precision():
    pytest.importorskip("torch", reason="install the extra torch")
    settings = {"num_layers": 2, "direction": "bidirectional", "initial_state": "probe", "proj_size": 3}
    problems = [make_problem(dtype=dtype, **settings) for dtype in ("float32", "float64", "bfloat16")]
    asked = Asked(timeout=60, arrays="torch", layout="torch")
    with asked.port:
        for problem in (*problems, make_problem(lengths=(5, 2), **settings)):
            reply = asked("torch_network", problem, file="frameworks")
            assert_agrees(reply, problem)
            assert reply.trace.arrays.keys() == {"h", "h_n", "c_n"}
            assert reply.notes == ()
        (reply,) = asked.port.call([make_problem(peephole=True, **settings)])
        assert (reply.status, reply.message) == ("unsupported", "torch has no peepholes")


@pytest.mark.parametrize(
    ("arrays", "name"),
    [("jax", "jax_gradients"), ("tensorflow", "tf_gradients")],
)
@pytest.mark.slow  # compiled for each dtype
def test_gradients_of_a_framework_are_taken_in_its_arrays(arrays, name):
    pytest.importorskip(arrays, reason=f"install the extra for {arrays}")
    asked = Asked(timeout=60, arrays=arrays)
    with asked.port:
        for dtype in ("float32", "float64", "bfloat16"):
            problem = make_problem(dtype=dtype, gradients=True, initial_state="probe")
            reply = asked(name, problem, file="frameworks")
            assert_agrees(reply, problem)
            assert reply.trace.arrays.keys() == {"h", "dx", "dW", "dR", "db", "dh0", "dc0"}


def assert_agrees(reply, problem):
    assert reply.status == "ran", reply.message
    case = problem.case
    limit = limit_for(case)
    tensors = compare(reply.trace, expect(problem), case, limit)
    run = judge(RunResult(case=case.name, backend="port", status="agree", tensors=tensors, timesteps=5), limit)
    assert {name: one.worst.sigma for name, one in run.tensors.items() if one.worst.sigma > 5} == {}
    assert all(array.dtype == problem.x.dtype for array in reply.trace.arrays.values())


def test_jax_gets_and_gives_arrays_in_the_precision_of_the_case():
    pytest.importorskip("jax", reason="install the extra jax")
    asked = Asked(timeout=60, arrays="jax")
    with asked.port:
        wide = make_problem(dtype="float64")
        for reply, problem in zip(
            asked("jax_loop", PROBLEM, wide, PROBLEM, file="frameworks"), [PROBLEM, wide, PROBLEM], strict=True
        ):
            assert_right(reply, problem)
            assert reply.notes == ()
        assert "Tracer that cannot be read as an array" in asked("jax_tracer", file="frameworks").message


@pytest.mark.slow
def test_tensorflow_gets_and_gives_tensors():
    pytest.importorskip("tensorflow", reason="install the extra tf")
    asked = Asked(timeout=60, arrays="tensorflow")
    with asked.port:
        assert_right(asked("tf_eager", file="frameworks"))
        assert (
            "symbolic TensorFlow tensor, which has no values yet: run it"
            in asked("tf_symbolic", file="frameworks").message
        )


def test_a_framework_that_is_not_there_is_said_to_be(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (reply,) = LocalPort(lambda *args: None, arrays="torch").call([PROBLEM])
    assert reply.status == "failed"
    assert "torch arrays are asked for, and torch cannot be imported" in reply.message


def test_many_calls_cost_little(ask):
    problems = [make_problem(timesteps=3, seed=seed) for seed in range(500)]
    ask("port", file="plain")
    started = time.perf_counter()
    replies = ask("port", *problems, file="plain")
    overhead = time.perf_counter() - started - sum(reply.seconds["run"] for reply in replies)
    assert all(reply.status == "ran" for reply in replies)
    assert overhead < 5, overhead  # 0.2 on an idle machine


def test_closing_leaves_no_process_and_may_be_done_twice():
    before = set(multiprocessing.active_children())
    port = Port(Target(PLANTED / "plain.py", "port"))
    assert not set(multiprocessing.active_children()) - before
    assert_right(port.call([PROBLEM])[0])
    assert set(multiprocessing.active_children()) - before
    port.close()
    port.close()
    assert not set(multiprocessing.active_children()) - before


def test_closing_ends_a_call_that_is_under_way():
    asked = Asked(timeout=60)
    asked("port", file="plain")
    with ThreadPoolExecutor(1) as thread:
        replies = thread.submit(asked, "hangs_on_long_sequences", PROBLEM, LONG, PROBLEM)
        time.sleep(1)
        asked.port.close()
        assert [reply.status for reply in replies.result(timeout=20)][1:] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port", '"port" is not a target: write FILE.py:FUNCTION'),
        ("plain.txt:port", "is not a target"),
        ("plain.ipynb:port", "Save the notebook's function in a .py file."),
        ("plain.py:", "is not a target"),
        ("plain.py:Module.run", "is not a target"),
        ("plian.py:port", "plian.py: no such file. Did you mean plain.py?"),
        ("package.py", "package.py: no such file."),
        ("plain.py:prot", 'plain.py: no function is called "prot". Did you mean "port"? There are: sigmoid, port'),
        ("returns.py", 'no function is called "port". There are: lists, by_name'),
        ("misbehaves.py", "Name one of them: misbehaves.py:remembers."),
    ],
)
def test_what_is_no_target_is_told_with_what_there_is(monkeypatch, text, message):
    monkeypatch.chdir(PLANTED)
    if text == "returns.py":  # it imports port under another name
        assert "run" not in message
    with pytest.raises(LockstepError) as error:
        parse_target(text)
    assert message in str(error.value)


def test_a_target_is_a_file_and_a_function(tmp_path, monkeypatch):
    monkeypatch.chdir(PLANTED)
    assert parse_target("plain.py") == Target(PLANTED / "plain.py", "port")
    assert parse_target("plain.py:sigmoid") == Target(PLANTED / "plain.py", "sigmoid")
    for text in ("port = jit(f)", "from a import b as port", "if x:\n    def port(): ...", "from a import *"):
        assert parse_target(str(write(tmp_path, "mine.py", text))).function == "port"


def test_a_file_that_is_no_python_is_no_target(tmp_path):
    for text, message in (("def port(:", "line 1: not valid Python"), ("\0", "mine.py")):
        with pytest.raises(LockstepError, match=message):
            parse_target(str(write(tmp_path, "mine.py", text)))


def test_options_that_do_not_exist_are_refused():
    target = Target(PLANTED / "plain.py", "port")
    with pytest.raises(LockstepError, match=r'no layout is called "kears". Did you mean "keras"'):
        Port(target, layout="kears")
    with pytest.raises(LockstepError, match="no kind of arrays"):
        LocalPort(print, arrays="tf")


def tells_process(*args):
    x, _, h0, _ = args
    return np.full((*x.shape[:2], h0.shape[1]), os.getpid() % 1000, x.dtype)


def test_what_no_other_process_can_import_runs_here():
    def inner(*args):
        return tells_process(*args)

    for function in (inner, functools.partial(tells_process), lambda *args: inner(*args)[:]):
        with port_of(function, timeout=20) as port:
            assert isinstance(port, LocalPort)
            (reply,) = port.call([PROBLEM])
            assert (reply.trace.h == os.getpid() % 1000).all(), reply.message


def test_a_function_of_a_module_gets_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "of_its_own.py", "def port(x, weights, h0, c0):\n    import os\n    os._exit(1)")
    import of_its_own

    with port_of(of_its_own.port, timeout=20) as port:
        assert port.name == "port"
        assert port.call([PROBLEM])[0].status == "crashed"


def test_a_local_port_tells_what_it_raises_and_lets_ctrl_c_through():
    def wrong(x, *_):
        raise ValueError("no luck", x.shape)

    def interrupted(*_):
        raise KeyboardInterrupt

    (reply,) = LocalPort(wrong).call([PROBLEM])
    assert reply.message.startswith("it raised ValueError in test_port.py, line ")
    with pytest.raises(KeyboardInterrupt):
        LocalPort(interrupted).call([PROBLEM])


def test_importing_ports_imports_no_framework():
    code = "import sys, harness.ports.port; print(sorted({'torch', 'jax', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
