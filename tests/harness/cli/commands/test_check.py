"""``lockstep check``, ``anatomy`` and ``adequacy``: exit statuses, what is told, and what is written."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from lockstep.harness.jobs.check import cases_of, left_out

ROOT = Path(__file__).parents[4]
PORTS = """
import ctypes
import os
import time

import numpy as np


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


def run(x, W, R, b, h, c, lengths=None, order="ifgo", forget_bias=0):
    h_seq, c_seq = [], []
    for t in range(len(x)):
        z = dict(zip(order, np.split(x[t] @ W.T + h @ R.T + b, 4, axis=-1)))
        c_new = sigmoid(z["f"] + forget_bias) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        h_new = sigmoid(z["o"]) * np.tanh(c_new)
        valid = np.ones((len(h), 1), bool) if lengths is None else (t < lengths)[:, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        h_seq.append(np.where(valid, h, 0))
        c_seq.append(c)
    return np.stack(h_seq).astype(x.dtype), np.stack(c_seq).astype(x.dtype)


def port(x, weights, h0, c0, lengths=None):
    return run(x, weights["W"], weights["R"], weights["b"], h0, c0, lengths)


def without_lengths(x, weights, h0, c0):
    return port(x, weights, h0, c0)


def without_start(x, weights, h0, c0, lengths=None):
    return port(x, weights, 0 * h0, 0 * c0, lengths)


def in_float32(x, weights, h0, c0, lengths=None):
    weights = {name: array.astype("float32") for name, array in weights.items()}
    return port(x.astype("float32"), weights, h0.astype("float32"), c0.astype("float32"), lengths)


def gates_ifog(x, weights, h0, c0, lengths=None):
    return run(x, weights["W"], weights["R"], weights["b"], h0, c0, lengths, order="ifog")


def torch_layout(x, weights, h0, c0, lengths=None):
    b = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    return run(x, weights["weight_ih_l0"], weights["weight_hh_l0"], b, h0, c0, lengths)


def one_of_two_biases(x, weights, h0, c0, lengths=None):
    return run(x, weights["weight_ih_l0"], weights["weight_hh_l0"], weights["bias_ih_l0"], h0, c0, lengths)


def keras_layout(x, weights, h0, c0, lengths=None):
    return run(x, weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"], h0, c0, lengths)


def tf1_layout(x, weights, h0, c0, lengths=None):
    W, R = np.split(weights["kernel"].T, [x.shape[2]], axis=1)
    return run(x, W, R, weights["bias"], h0, c0, lengths, order="igfo", forget_bias=1)


def onnx_layout(x, weights, h0, c0, lengths=None):
    first, second = np.split(weights["B"][0], 2)
    return run(x, weights["W"][0], weights["R"][0], first + second, h0, c0, lengths, order="iofg")


def torch_arrays(x, weights, h0, c0, lengths=None):
    import torch

    assert all(isinstance(array, torch.Tensor) for array in (x, h0, c0, *weights.values()))
    lstm = torch.nn.LSTM(x.shape[2], h0.shape[1], dtype=x.dtype)
    lstm.load_state_dict(weights)
    with torch.no_grad():
        return lstm(x, (h0[None], c0[None]))


def at_one_timestep(strike):
    def struck(x, weights, h0, c0, lengths=None):
        if len(x) == 1:
            strike()
        return port(x, weights, h0, c0, lengths)

    return struck


raises = at_one_timestep(lambda: np.ones(2) @ np.ones(3))
hangs = at_one_timestep(lambda: time.sleep(600))
exits = at_one_timestep(lambda: os._exit(3))
segfaults = at_one_timestep(lambda: ctypes.string_at(0))


def prints(x, weights, h0, c0, lengths=None):
    print("{ no JSON")
    os.write(1, b"nor this")
    return port(x, weights, h0, c0, lengths)


def batch_major(x, weights, h0, c0):
    h, c = port(x, weights, h0, c0)
    return h.swapaxes(0, 1), c.swapaxes(0, 1)


def gives_nan(x, weights, h0, c0, lengths=None):
    h, c = port(x, weights, h0, c0, lengths)
    h[-1] = np.nan
    return h, c


def network(x, weights, h0, c0, lengths=None, width=2):
    if isinstance(weights, dict):
        return port(x, weights, h0, c0, lengths)
    lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths

    def turned(a):
        return np.stack([np.concatenate([a[:n, k][::-1], a[n:, k]]) for k, n in enumerate(lengths)], axis=1)

    h_n, c_n = [], []
    for layer in weights:
        x = np.concatenate([x, np.zeros_like(x)], axis=-1) if x.shape[-1] < layer[0]["W"].shape[1] else x
        sides = []
        for way, lane in zip((lambda a: a, turned), layer):
            h, c = port(way(x), lane, h0[len(h_n)], c0[len(c_n)], lengths)
            sides.append(way(h))
            h_n.append(h[lengths - 1, np.arange(len(lengths))])
            c_n.append(c[-1])
        last, x = np.concatenate(sides, axis=-1), np.concatenate(sides[:width], axis=-1)
    return last, np.stack(h_n), np.stack(c_n)


def forgets_reverse(x, weights, h0, c0, lengths=None):
    return network(x, weights, h0, c0, lengths, width=1)


def halves_c0(x, weights, h0, c0, dh, dc):
    return {"h_seq": port(x, weights, h0, c0)[0], "c0": dc / 2}


calls = 0


def remembers(x, weights, h0, c0, lengths=None):
    global calls
    calls += 1
    h, c = port(x, weights, h0, c0, lengths)
    return h * calls, c
"""


@pytest.fixture
def ports(tmp_path):
    """Write the planted ports to a file."""
    path = tmp_path / "lstm.py"
    path.write_text(PORTS)
    return path


@pytest.fixture
def check(lockstep, ports, tmp_path):
    """Check a planted port over some cases; give the exit status, stdout, and results by case."""

    def check(function, *options, cases=("one-unit", "one-timestep", "square")):
        chosen = [word for case in cases for word in ("--case", case)]
        results = tmp_path / "results.json"
        status, out, err = lockstep("check", f"{ports}:{function}", *chosen, *options, "--json", results)
        assert not err.replace(f"Report: {tmp_path / 'page' / 'index.html'}\n", "")
        return status, out, {run["case"]: run for run in json.loads(results.read_text())["runs"]}

    return check


def statuses(runs):
    return {case: run["status"] for case, run in runs.items()}


def test_a_healthy_port_agrees_with_every_shipped_case_of_one_plain_layer(check):
    status, out, runs = check("port", cases=())
    assert status == 0
    assert statuses(runs) == {case.name: "agree" for case in cases_of([]) if case.lstm.plain and not case.run.gradients}
    assert f"{len(runs)} runs: {len(runs)} agree" in out
    assert {run["backend"] for run in runs.values()} == {"port"}


def test_what_of_the_suite_was_not_run_is_told_in_one_line_unless_cases_were_named(check):
    _, out, runs = check("port", cases=())
    (line,) = [line for line in out.splitlines() if line.startswith("Not run: ")]
    names = left_out(runs)
    assert line.startswith(f"Not run: {len(names)} shipped cases of other forms, or with settings that arguments do ")
    assert f"--case {names[0]}" in line
    assert "lockstep cases" in line
    _, out, _ = check("port", cases=("square",))
    assert "Not run: " not in out


@pytest.fixture
def case_file(tmp_path):
    """Write a case with some settings of the table [lstm], then [run]."""

    def case_file(name, lstm="", run=""):
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f"[lstm]\ninput_size = 3\nhidden_size = 4\n{lstm}\n[run]\ntimesteps = 5\nbatch = 2\n"
            f'initial_state = "probe"\n{run}\n'
        )
        return path

    return case_file


def test_networks_and_half_precisions_are_checked_when_they_are_named(check, case_file):
    files = [
        case_file("both", 'num_layers = 2\ndirection = "bidirectional"', "lengths = [4, 2]"),
        case_file("half", "", 'dtype = "float16"'),
    ]
    status, out, runs = check("network", cases=files)
    assert status == 0, out
    assert statuses(runs) == {"both": "agree", "half": "agree"}
    assert runs["both"]["tensors"].keys() == {
        "h_l1", "h_l1_reverse", *(f"{kind}_n_l{k}{way}" for kind in "hc" for k in (0, 1) for way in ("", "_reverse")),
    }  # fmt: skip


def test_a_network_that_hands_on_one_direction_only_diverges_in_the_layer_above(check, case_file):
    file = case_file("both", 'num_layers = 2\ndirection = "bidirectional"')
    status, out, runs = check("forgets_reverse", cases=[file])
    assert status == 1
    assert 'forgets_reverse diverges at timestep 0 of 5 of layer 1 in case "both".' in out
    assert runs["both"]["first_divergence"] == {"tensor": "h_l1", "timestep": 0, "backward": False}
    assert {name for name, one in runs["both"]["tensors"].items() if one["verdict"] == "agree"} == {
        f"{kind}_n_l0{way}" for kind in "hc" for way in ("", "_reverse")
    }  # fmt: skip


@pytest.mark.usefixtures("short_search")
def test_gradients_are_compared_where_they_are_asked_for_and_the_port_takes_cotangents(check, case_file):
    file = case_file("back", "", "gradients = true")
    status, out, runs = check("port", cases=[file])
    assert status == 0
    assert statuses(runs) == {"back": "agree"}
    assert "Note: gradients are not compared: it takes no dh, dc." in out
    status, out, runs = check("halves_c0", cases=[file])
    assert status == 1
    assert runs["back"]["first_divergence"] == {"tensor": "dc0", "timestep": 0, "backward": True}
    assert "in the backward pass (dc0)" in out
    assert "Note: it returned no x, W, R, b, h0: not compared." in out


def test_the_line_to_run_a_case_file_again_names_its_path(lockstep, check, case_file):
    file = case_file("mine")
    _, out, runs = check("gates_ifog", cases=[file])
    assert f"--case {file}\n" in out
    command, *words = shlex.split(runs["mine"]["rerun"])
    assert command == "lockstep"
    status, again, err = lockstep(*words)
    assert (status, err) == (1, "")
    assert "WRb:read-as-ifog" in again


def test_a_diverging_port_is_told_where_and_why_and_what_to_do(check):
    status, out, runs = check("gates_ifog", cases=("one-timestep", "square"))
    assert status == 1
    assert 'gates_ifog diverges at timestep 0 of 1 in case "one-timestep" (2 of 2 cases diverge).' in out
    assert "Why: " in out
    assert "Fix: " in out
    assert "The reference with this mistake reproduces every number" in out
    for run in runs.values():
        assert run["rerun"].endswith(f"lstm.py:gates_ifog --case {run['case']}")
        found = run["diagnosis"][0]
        assert {"fault", "message", "fix", "sigma", "indistinguishable_from"} <= found.keys()
        assert found["fault"] == "WRb:read-as-ifog"
        assert f"Why: {found['message']} [WRb:read-as-ifog]" in out
        assert f"Fix: {found['fix']}" in out
        assert found["sigma"] < 10
        assert found["indistinguishable_from"] == []


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("{folder}/lsmt.py:port", [], "lsmt.py: no such file. Did you mean {folder}/lstm.py?"),
        ("{folder}/lstm.py:prot", [], 'no function is called "prot". Did you mean "port"?'),
        ("{folder}/lstm.ipynb:port", [], "Save the notebook's function in a .py file."),
        ("lstm", [], '"lstm" is not a target: write FILE.py:FUNCTION'),
        ("{folder}/lstm.py:port", ["--case", "porbe"], 'no case is called "porbe". Did you mean "probe"?'),
        ("{folder}/lstm.py:port", ["--layout", "pytorch"], 'no layout is called "pytorch". Did you mean "torch"?'),
        ("{folder}/lstm.py:port", ["--arrays", "cupy"], 'no kind of arrays is called "cupy".'),
        ("{folder}/lstm.py:port", ["--seed", "-1"], "--seed -1: must be 0 or above"),
        ("{folder}/lstm.py:port", ["--chunks", "4,x"], "--chunks 4,x: expected the timesteps of each piece, 1 or more"),
        ("{folder}/lstm.py:port", ["--chunks", "4,0,8"], "--chunks 4,0,8: expected the timesteps of each piece"),
        ("{folder}/lstm.py:port", ["--chunks", "400"], "--chunks 400: that is 400 timesteps, and no case has as many"),
        ("{folder}/lstm.py:port", ["--chunks", "4,1", "--case", "probe"], "chunks = [4, 1] are 5 timesteps together"),
        ("{folder}/lstm.py:port", ["--timeout", "0"], "--timeout 0: must be a number above 0"),
        ("{folder}/lstm.py:port", ["--json", "{folder}/lstm.py/r.json"], "cannot be written"),
    ],
)
def test_a_wrong_request_exits_2_with_one_message(lockstep, ports, target, options, words):
    target, words, *options = (text.format(folder=ports.parent) for text in (target, words, *options))
    status, out, err = lockstep("check", target, *options)
    assert status == 2
    assert words in err.replace("\n", " ")
    assert out == ""


def test_a_file_that_is_no_python_exits_2(lockstep, tmp_path):
    (tmp_path / "lstm.py").write_text("def port(:\n")
    status, out, err = lockstep("check", tmp_path / "lstm.py")
    assert status == 2
    assert "lstm.py, line 1: not valid Python" in err
    assert out == ""


@pytest.mark.parametrize(
    ("function", "status", "message"),
    [
        ("raises", "failed", "it raised ValueError in lstm.py, line "),
        ("hangs", "timeout", "not done after 3 s, in lstm.py, line "),
        ("exits", "crashed", "its process ended with exit status 3 (does it call os._exit?)"),
        ("segfaults", "crashed", "killed by SIGSEGV, in lstm.py, line "),
    ],
)
def test_a_port_that_fails_in_one_case_exits_3_and_keeps_the_others(check, function, status, message):
    exited, out, runs = check(function, "--timeout", 3)
    assert exited == 3
    assert statuses(runs) == {"one-unit": "agree", "one-timestep": status, "square": "agree"}
    assert message in runs["one-timestep"]["message"]
    assert message in out
    assert '"one-timestep"' in out
    assert "2 agree" in out


def test_json_on_stdout_is_nothing_but_json_whatever_a_port_prints(lockstep, ports):
    status, out, err = lockstep("check", f"{ports}:prints", "--case", "ones", "--json", "-")
    assert status == 0
    assert json.loads(out)["runs"][0]["status"] == "agree"
    assert "Note: it prints to stdout." in err
    assert "1 run: 1 agree" in err


def test_batch_major_results_are_recognised(check):
    status, out, runs = check("batch_major", cases=("ones",))
    assert status == 3
    assert statuses(runs) == {"ones": "failed"}
    assert "h_seq has shape (1, 3, 4), expected (T, B, H) = (3, 1, 4): batch-major?" in out


def test_where_all_sizes_are_equal_batch_major_results_are_recognised_by_their_numbers(check):
    status, _, runs = check("batch_major", cases=("square",))
    assert status == 1
    found = runs["square"]["diagnosis"][0]
    assert "h.seq-and-c.seq:time-and-batch-exchanged" in [found["fault"], *found["indistinguishable_from"]]


def test_nan_diverges(check):
    status, out, runs = check("gives_nan", cases=("square",))
    assert status == 1
    assert runs["square"]["first_divergence"] == {"tensor": "h", "timestep": 3, "backward": False}
    assert "diverges at timestep 3" in out
    assert "holds nan" in out


def test_nan_is_not_explained_by_what_is_right_before_it(check):
    _, _, runs = check("gives_nan", cases=("square",))
    assert not runs["square"]["diagnosis"][0]["fault"].startswith("state-")


def test_a_port_without_lengths_is_unsupported_where_a_case_has_them_and_nowhere_else(check):
    status, out, runs = check("without_lengths", cases=("lengths", "square"))
    assert status == 0
    assert statuses(runs) == {"lengths": "unsupported", "square": "agree"}
    assert "add `lengths=None` to its parameters (lengths)" in out


def test_a_port_that_remembers_its_calls_is_found_out(check):
    status, out, runs = check("remembers", cases=("square",))
    assert status == 1
    assert runs["square"]["repeatable"] is False
    assert "Not repeatable" in out
    assert "Why: " in out


@pytest.mark.parametrize("layout", ["torch", "keras", "tf1", "onnx"])
def test_weights_are_handed_over_as_each_framework_stores_them(check, layout):
    status, out, runs = check(f"{layout}_layout", "--layout", layout, cases=())
    assert status == 0, out
    assert set(statuses(runs).values()) == {"agree"}
    assert runs["probe"]["rerun"].endswith(f"--case probe --layout {layout}")


def test_of_two_biases_both_are_needed(check):
    status, out, runs = check("one_of_two_biases", "--layout", "torch", cases=("square",))
    assert status == 1
    assert runs["square"]["diagnosis"][0]["fault"] == "b_hh:left-out"
    assert "[b_hh:left-out]" in out


@pytest.mark.xdist_group("torch")
def test_arguments_are_tensors_of_torch_where_these_are_asked_for(check):
    status, out, runs = check("torch_arrays", "--layout", "torch", "--arrays", "torch", cases=("square",))
    assert status == 0, out
    assert runs["square"]["tensors"].keys() == {"h", "h_n", "c_n"}
    assert runs["square"]["rerun"].endswith("--layout torch --arrays torch")


@pytest.mark.usefixtures("no_strength")
def test_another_seed_is_the_same_check_on_other_numbers(check):
    expected = []
    for seed in (0, 3):
        # ones has golden values, which hold for its own numbers alone.
        status, _, runs = check("port", "--seed", seed, cases=("ones", "square"))
        assert status == 0
        expected.append(runs["square"]["tensors"]["h"]["per_timestep"]["expected"])
    assert expected[0] != expected[1]


def test_a_case_is_run_piece_by_piece_where_that_is_asked_for(check):
    status, out, runs = check("port", "--chunks", "4,1,7", cases=("probe",))
    assert status == 0
    assert runs["probe"]["rerun"].endswith("--case probe --chunks 4,1,7")
    status, out, runs = check("without_start", "--chunks", "4,1,7", cases=("probe",))
    assert status == 1
    assert "The initial state (h0 and c0) is 0, in every piece. [h0-and-c0:zero]" in out


def test_without_a_name_cases_of_as_many_timesteps_are_run_in_pieces(check):
    _, _, runs = check("port", "--chunks", "2,1", cases=())
    assert runs.keys() == {case.name for case in cases_of([]) if case.run.timesteps == 3}


def test_a_limit_of_ones_own_is_kept(check):
    status, out, runs = check("port", "--limit", 1e-6, cases=("square",))
    assert status == 1
    assert runs["square"]["limit"]["origin"] == "option"
    assert "limit 1e-06 sigma" in out


def test_a_page_is_written(check, tmp_path):
    status, _, _ = check("gates_ifog", "--html", tmp_path / "page", cases=("square",))
    assert status == 1
    assert "gates_ifog" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.usefixtures("short_search")
def test_a_port_that_computes_in_float32_is_healthy_unless_more_is_asked_for(check):
    status, out, runs = check("in_float32", cases=())
    assert status == 0
    assert (runs["float64"]["status"], runs["float64"]["computed_in"]) == ("agree", "float32")
    assert "--case" not in runs["float64"]["rerun"]
    assert "\nNote: computed in float32: agrees to float32's rounding (float64).\n" in out
    for options, cases in ((("--strict-dtype",), ()), ((), ("float64", "ones"))):
        status, _, runs = check("in_float32", *options, cases=cases)
        assert status == 1
        assert [name for name, run in runs.items() if run["status"] == "diverge"] == ["float64"]


def test_the_seconds_of_a_search_are_above_0_and_part_of_what_runs_it_again(check, lockstep, ports):
    status, _, error = lockstep("check", f"{ports}:port", "--search-seconds", "0")
    assert status == 2
    assert "--search-seconds 0: must be a number above 0." in error
    _, _, runs = check("gates_ifog", "--search-seconds", "30", cases=("tiny",))
    assert runs["tiny"]["rerun"].endswith(" --search-seconds 30")


def test_agreement_in_named_cases_ends_with_what_they_could_not_have_seen(check, lockstep, ports):
    _, out, _ = check("port", cases=("ones",))
    assert out.splitlines()[-1].startswith('Case "ones" cannot detect ')
    _, out, _ = check("port", cases=("ones", "probe"))
    assert out.count("cannot detect") == 1
    assert out.splitlines()[-1].startswith("Together these cases cannot detect ")
    _, out, _ = check("gates_ifog", cases=("ones", "probe"))
    assert "cannot detect" not in out
    _, out, _ = lockstep("check", f"{ports}:port")
    assert "cannot detect" not in out


@pytest.mark.xdist_group("torch")
def test_the_anatomy_of_a_healthy_backend_is_canonical(lockstep):
    status, out, _ = lockstep("anatomy", "torch_lstm")
    assert status == 0
    assert "torch_lstm is canonical: " in out
    assert "gate order in W" in out
    assert " 0 differ" in out


def test_the_anatomy_of_a_healthy_port_is_canonical(lockstep, ports):
    status, out, _ = lockstep("anatomy", f"{ports}:keras_layout", "--layout", "keras")
    assert status == 0
    assert "keras_layout is canonical: " in out


@pytest.mark.slow  # four lanes are measured
def test_the_anatomy_of_a_network_is_told_lane_by_lane_in_the_first_form_that_it_answers(lockstep, tmp_path):
    port = Path(__file__).parents[4] / "cases" / "ports" / "bidirectional.py"
    status, out, _ = lockstep("anatomy", f"{port}:port", "--json", tmp_path / "a.json")
    assert status == 0
    assert "port is measured as a network: 2 layers, bidirectional." in out
    assert "4 of 4 lanes measured" in out
    written = json.loads((tmp_path / "a.json").read_text())
    assert [lane["lane"] for lane in written["lanes"]] == ["0", "0r", "1", "1r"]
    assert all(not row["differs"] for lane in written["lanes"] for row in lane["anatomy"]["conventions"])


def test_the_anatomy_of_a_port_with_a_fault_names_it(lockstep, ports, tmp_path):
    status, out, _ = lockstep("anatomy", f"{ports}:gates_ifog", "--json", tmp_path / "a.json")
    assert status == 1
    assert "[WRb:read-as-ifog]" in out
    found = json.loads((tmp_path / "a.json").read_text())
    rows = {row["name"]: row for row in found["conventions"]}
    assert rows["gate order in W"]["differs"] is True
    assert rows["gate order in W"]["measured"] == "i, f, o, g"
    assert rows["activation of f"]["differs"] is False


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nonsense", 'no backend is called "nonsense". There are: '),
        ("torhc_lstm", 'Did you mean "torch_lstm"?'),
        ("absent.py:port", "absent.py: no such file"),
    ],
)
def test_the_anatomy_of_nothing_exits_2(lockstep, target, words):
    status, out, err = lockstep("anatomy", target)
    assert status == 2
    assert words in err.replace("\n", " ")
    assert out == ""


def test_adequacy_counts_the_faults_that_cases_see(lockstep, tmp_path):
    status, out, _ = lockstep("adequacy", "ones", "square", "--json", tmp_path / "a.json")
    assert status == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["cases"] == ["ones", "square"]
    visible = {name: [float(sigma) > found["limit"] for sigma in row] for name, row in found["sigma"].items()}
    assert visible["WRb:read-as-ifog"] == [False, True]
    assert visible["h_in-and-c_in:initial"] == [True, True]
    for k, case in enumerate(found["cases"]):
        assert f"{case} detects {sum(row[k] for row in visible.values())} of {len(visible)} faults" in out


def test_adequacy_of_an_unknown_case_exits_2(lockstep):
    status, out, err = lockstep("adequacy", "onse")
    assert status == 2
    assert 'Did you mean "ones"' in err
    assert out == ""


@pytest.mark.usefixtures("no_strength")
def test_a_file_says_itself_how_its_ports_get_their_arguments_and_an_option_comes_before(check, ports, lockstep):
    text = ports.read_text()
    ports.write_text(text + '\nLOCKSTEP = {"layout": "tf1"}\n')
    status, out, _ = check("tf1_layout", cases=("square",))
    assert status == 0, out
    assert statuses(check("port", "--layout", "canonical", cases=("square",))[2]) == {"square": "agree"}
    ports.write_text(text + '\nLOCKSTEP = {"layout": "tf"}\n')
    assert 'no layout is called "tf"' in lockstep("check", f"{ports}:port")[2]
    for declared in ('{"layouts": "tf1"}', "text"):
        ports.write_text(text + f"\nLOCKSTEP = {declared}\n")
        status, _, err = lockstep("check", f"{ports}:port")
        assert status == 2
        assert 'must be a dict with "layout", "arrays" or both' in err.replace("\n", " ")


@pytest.mark.usefixtures("no_strength")
def test_cases_are_named_without_the_option_too(check):
    status, out, runs = check("port", "square", cases=("ones",))
    assert status == 0
    assert runs.keys() == {"square", "ones"}
    assert "Not run: " not in out


def test_pages_of_single_cases_are_written(check, tmp_path):
    status, _, _ = check("gates_ifog", "--html", tmp_path / "page", "--details", cases=("square",))
    assert status == 1
    assert len([*(tmp_path / "page").rglob("*.html")]) > 1


def test_a_second_port_is_no_case(lockstep, ports):
    status, _, err = lockstep("check", f"{ports}:port", f"{ports}:gates_ifog")
    assert status == 2
    assert "that is a function, no case" in err.replace("\n", " ")


def program_of(place, words=" {problem} {answer}"):
    """The command of a program that answers as cases/templates/port_numpy_plain.py does."""
    port = ROOT / "cases" / "templates" / "port_numpy_plain.py"
    return f"{sys.executable} {ROOT / 'tests' / 'planted_programs' / 'by_port.py'} {place or port}{words}"


def test_a_program_is_checked_as_a_port_is_and_its_first_word_is_a_case(lockstep, tmp_path):
    command = program_of("")
    status, out, _ = lockstep("check", "--command", command, "one-unit", "--json", tmp_path / "r.json")
    assert status == 0, out
    (run,) = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert (run["backend"], run["case"], run["status"]) == ("by_port", "one-unit", "agree")
    assert shlex.split(run["rerun"]) == ["lockstep", "check", "--command", command, "--case", "one-unit"]


def test_a_wrong_program_that_serves_is_explained_and_its_file_is_the_source(lockstep, tmp_path):
    wrong = tmp_path / "wrong.py"
    text = (ROOT / "cases" / "templates" / "port_numpy_plain.py").read_text()
    assert text.count("i, f, g, o = np.split(") == 1
    wrong.write_text(text.replace("i, f, g, o = np.split(", "i, g, f, o = np.split("))
    command = program_of(wrong, "")
    options = ("--command-serve", command, "--layout", "canonical", "--case", "probe", "--json", tmp_path / "r.json")
    status, out, _ = lockstep("check", *options)
    assert status == 1
    assert "Why: The blocks of W, R and b are read as i, g, f, o, and stored as i, f, g, o. [WRb:read-as-igfo]" in out
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["runs"][0]["repeatable"] is True
    words = ["lockstep", "check", "--command-serve", command, "--case", "probe", "--layout", "canonical"]
    assert shlex.split(results["runs"][0]["rerun"]) == words
    assert results["sources"]["by_port"]["file"].endswith("by_port.py")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to check: give FILE.py:FUNCTION, for example lstm.py:port, or a program"),
        (["port.py:port", "--command", "sh {problem} {answer}"], "one thing is checked at a time"),
        (["--command", "sh {problem} {answer}", "--command-serve", "sh"], "one thing is checked at a time"),
        (["--command", "sh {problem}"], "{answer} must be in it, where the path goes"),
        (["--command", "sh {problem} {answer}", "--arrays", "torch"], "--arrays torch: is for functions"),
        (["--command", "sh {problem} {answer}", "--layout", "troch"], 'no layout is called "troch". Did you mean'),
        (["--command", "sh {problem} {answer}", "nowhere"], 'no case is called "nowhere"'),
    ],
)
def test_what_is_not_to_be_checked_exits_2(lockstep, words, message):
    status, out, err = lockstep("check", *words)
    assert (status, out) == (2, "")
    assert message in err.replace("\n", " ")


def test_a_program_that_fails_exits_as_a_port_that_fails(lockstep):
    status, out, _ = lockstep("check", "--command", "sh -c 'echo no such gate; exit 4' {problem} {answer}", "tiny")
    assert status == 3
    assert 'sh, case "tiny": failed: it ended with exit status 4: no such gate.' in out
