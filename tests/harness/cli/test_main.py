"""The commands: exit statuses, files written, one message for each mistake."""

from __future__ import annotations

import json
import re

import pytest
from made_results import made, together

from lockstep.harness.cli.options import ARRAY_KINDS, LAYOUT_NAMES
from lockstep.harness.comparison.results import encode_results

TEXT = "[lstm]\ninput_size = 2\nhidden_size = 2\n[run]\ntimesteps = 4\nbatch = 2\n"


def test_a_healthy_run_exits_0_and_shows_the_table(lockstep):
    status, out, _ = lockstep("run", "ones", "--backend", "numpy_loop")
    assert status == 0
    assert "ones" in out
    assert "numpy_loop" in out
    assert "1 run: 1 agree" in out


@pytest.mark.usefixtures("short_search")
def test_a_divergence_exits_1_and_shows_first_and_worst_place(lockstep, planted):
    planted("healthy", "half_right")
    status, out, _ = lockstep("run", "ones")
    assert status == 1
    assert 'half_right diverges from the reference in case "ones" at timestep 2 of 3.' in out
    assert "First: h[2, 0, 1] = 1.0048" in out
    assert "expected 0.994838134" in out
    assert "limit 10 sigma" in out
    assert "Worst: " in out
    assert "ULP" in out
    assert "Rerun: lockstep run ones --backend half_right" in out


def test_the_questions_fault_is_found_at_timestep_1(lockstep, planted):
    planted("resets_state")
    status, out, _ = lockstep("run", "ones")
    assert status == 1
    assert "at timestep 1 of 3" in out
    assert "Worst: c[2, 0, 0] = 0.99321699" in out  # 0.99321693 in the question


@pytest.mark.usefixtures("short_search")
def test_every_way_to_fail_exits_3_and_loses_nothing(lockstep, planted, tmp_path):
    planted(
        "healthy", "raises", "dies", "half_right", "gives_nan", "refuses", "prints", "import_fails", "hangs_politely"
    )
    status, out, _ = lockstep("run", "ones", "--json", tmp_path / "r.json", "--html", tmp_path, "--timeout", 4)
    assert status == 3
    found = {run["backend"]: run for run in json.loads((tmp_path / "r.json").read_text())["runs"]}
    assert {name: run["status"] for name, run in found.items()} == {
        "healthy": "agree", "raises": "failed", "dies": "crashed", "half_right": "diverge", "gives_nan": "diverge",
        "refuses": "unsupported", "prints": "agree", "import_fails": "failed", "hangs_politely": "timeout",
    }  # fmt: skip
    assert "last words" in found["dies"]["stderr"]
    assert "SIGSEGV" in out
    assert (tmp_path / "index.html").stat().st_size > 1000


def test_alone_it_tells_what_can_be_asked_a_line_for_each(lockstep):
    status, out, err = lockstep()
    assert (status, err) == (0, "")
    questions, _ = out.split("\n\n")
    intentions = ["my code", "my file", "my model", "my numbers", "my weights", "my framework", "my tests"]
    assert [line[:14].strip() for line in questions.splitlines()] == intentions
    assert max(map(len, out.splitlines())) <= 80
    # What it says is there.
    for command in re.findall("lockstep ([a-z]+) ", f"{out} "):
        assert lockstep(command, "--help")[0] == 0


def test_cases_are_named_with_the_option_or_without(lockstep, tmp_path):
    file = tmp_path / "r.json"
    assert lockstep("run", "ones", "--case", "probe", "--backend", "numpy_loop", "--json", file)[0] == 0
    assert {run["case"] for run in json.loads(file.read_text())["runs"]} == {"ones", "probe"}


def test_many_runs_are_told_beforehand_with_about_how_long_they_take(lockstep, planted):
    planted("healthy")
    status, out, err = lockstep("run")
    assert status == 0
    count = int(re.search(r"(\d+) runs: \1 agree", out)[1])
    assert re.match(rf"{count} runs: {count} cases through 1 backend, about \d+ (s|min)\.\n", err)
    assert lockstep("run", "ones")[2] == ""
    assert lockstep("run", "--quiet")[1:] == ("", "")


def test_a_pattern_leaves_out_what_is_not_installed_and_tells_it_in_one_line(lockstep, planted, tmp_path):
    planted("healthy", "needs_absent")
    file = tmp_path / "r.json"
    status, _, err = lockstep("run", "ones", "--backend", "*", "--json", file)
    assert status == 0
    assert [run["backend"] for run in json.loads(file.read_text())["runs"]] == ["healthy"]
    assert err == "Not installed, left out: no_such_framework. How to install them: lockstep backends\n"
    # Nothing else answers to it: how to install it is the result.
    status, out, _ = lockstep("run", "ones", "--backend", "needs*")
    assert status == 2
    assert "no_such_framework not installed" in out


def test_all_runs_more_than_the_main_backends(lockstep, monkeypatch):
    ran = []
    monkeypatch.setattr("lockstep.harness.jobs.run.run_cases", lambda cases, backends, **_: ran.append(backends) or [])
    for option in ((), ("--all",), ("--backend", "torch_*"), ("--backend", "numpy_loop", "--all")):
        lockstep("run", "ones", *option)
    main, everything, of_torch, both = ({backend.name for backend in backends} for backends in ran)
    assert {"numpy_loop", "torch_lstm"} <= main < everything == both
    assert {"torch_lstm", "torch_cell"} <= of_torch < everything
    assert not of_torch & main - {"torch_lstm"}


def test_json_on_stdout_is_nothing_but_json(lockstep, planted):
    planted("prints")
    status, out, err = lockstep("run", "ones", "--json", "-")
    assert status == 0
    assert json.loads(out)["runs"][0]["status"] == "agree"
    assert "1 agree" in err


def test_a_limit_of_the_option_is_stored_with_its_origin(lockstep, tmp_path):
    lockstep("run", "probe", "--backend", "numpy_loop", "--limit", 0.001, "--json", tmp_path / "r.json")
    run = json.loads((tmp_path / "r.json").read_text())["runs"][0]
    assert run["status"] == "diverge"
    assert run["limit"] == {"origin": "option", "sigma": 0.001, "rtol": None, "atol": None}


def test_traces_are_recorded_and_judged_elsewhere(lockstep, tmp_path):
    status, out, _ = lockstep("record", "ones", "probe", "--backend", "numpy_loop", "--out", tmp_path / "t")
    assert status == 0
    assert "2 traces" in out
    status, out, _ = lockstep("compare", tmp_path / "t", "--json", tmp_path / "r.json")
    assert status == 0
    assert "2 runs: 2 agree" in out
    run = json.loads((tmp_path / "r.json").read_text())["runs"][0]
    assert run["versions"]
    status, out, _ = lockstep("compare", tmp_path / "r.json", "--limit", 0.001)
    assert status == 1
    status, out, _ = lockstep("report", tmp_path / "r.json", "--html", tmp_path / "page")
    assert status == 0
    assert (tmp_path / "page" / "index.html").exists()


def test_a_damaged_trace_beside_good_ones_exits_2_and_loses_nothing(lockstep, tmp_path):
    lockstep("record", "ones", "--backend", "numpy_loop", "--out", tmp_path)
    good = tmp_path / "ones.numpy_loop.safetensors"
    bad = tmp_path / "a.safetensors"
    bad.write_bytes(good.read_bytes()[:-7])
    status, out, err = lockstep("compare", bad, good, "--json", tmp_path / "r.json")
    assert status == 2
    assert "a.safetensors" in err
    assert "1 run: 1 agree" in out
    assert len(json.loads((tmp_path / "r.json").read_text())["runs"]) == 1


def test_a_damaged_trace_in_a_folder_costs_only_itself(lockstep, tmp_path):
    lockstep("record", "ones", "probe", "--backend", "numpy_loop", "--out", tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"")
    status, out, err = lockstep("compare", tmp_path)
    assert status == 2
    assert "a.safetensors" in err
    assert "2 runs: 2 agree" in out


def test_a_failing_backend_keeps_the_traces_of_the_others(lockstep, planted, tmp_path):
    planted("healthy", "raises")
    status, out, _ = lockstep("record", "ones", "--out", tmp_path)
    assert status == 3
    assert "out of luck" in out
    assert (tmp_path / "ones.healthy.safetensors").exists()


def test_cases_and_schema_and_help_answer(lockstep):
    status, out, _ = lockstep("cases")
    assert status == 0
    assert "saturated" in out
    status, out, _ = lockstep("schema")
    assert json.loads(out)["title"] == "Lockstep case"
    assert lockstep("--help")[0] == 0
    assert lockstep("--version")[1].strip() == "0.1.0"


def test_backends_tell_versions_support_and_reasons(lockstep, planted):
    planted("healthy", "refuses", "import_missing")
    status, out, _ = lockstep("backends")
    assert status == 0
    assert "supports all 28 features of LSTMs" in out
    assert "supports float32; float64" not in out
    assert "not float64: no float64 here" in out
    assert "no_such_framework not installed" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "onse"], 'Did you mean "ones"'),
        (["run", "ones", "--backend", "torhc_lstm"], 'Did you mean "torch_lstm"'),
        (["run", "ones", "--backend", "torch"], 'Did you mean "torch_lstm"'),
        (["run", "my.py:port"], "my.py:port: that is a function, no case: did you mean lockstep check my.py:port?"),
        (["run", "--case", "my.py"], "that is a program, no case: did you mean lockstep check my.py:FUNCTION?"),
        (["adequacy", "my.py:port"], "did you mean lockstep check my.py:port?"),
        (["record", "my.py:port"], "did you mean lockstep check my.py:port?"),
        (["run", "ones", "--nope"], "--nope"),
        (["run", "ones", "--timeout", "0"], "--timeout 0: must be a number above 0"),
        (["run", "ones", "--timeout", "soon"], "soon"),
        (["run", "ones", "--limit", "nan"], "--limit nan"),
        (["run", "ones", "--limit", "-3"], "--limit -3"),
        (["run", "absent.toml"], "absent.toml: cannot be read"),
        (["frobnicate"], "frobnicate"),
        (["compare"], "nothing to compare"),
        (["compare", "absent.safetensors"], "absent.safetensors: cannot be read"),
        (["compare", "absent.json"], "absent.json: cannot be read"),
        (["report", "absent.json"], "absent.json: cannot be read"),
    ],
)
def test_a_wrong_request_exits_2_with_one_message(lockstep, arguments, words):
    status, out, err = lockstep(*arguments)
    assert status == 2
    assert words in err.replace("\n", " ")
    assert out == ""


@pytest.mark.parametrize("text", ["", "x", "[lstm]\nhidden_size = 0", TEXT + 'inputs = { file = "none.npz" }', "\0"])
def test_a_bad_case_file_exits_2(lockstep, tmp_path, text):
    (tmp_path / "bad.toml").write_text(text)
    status, _, err = lockstep("run", tmp_path / "bad.toml", "--backend", "numpy_loop")
    assert status == 2
    assert "bad.toml" in err


def test_a_bad_data_file_exits_2_before_anything_runs(lockstep, tmp_path):
    (tmp_path / "w.npz").write_bytes(b"junk")
    (tmp_path / "c.toml").write_text(TEXT + 'weights = { file = "w.npz" }')
    status, out, err = lockstep("run", "ones", tmp_path / "c.toml", "--backend", "numpy_loop")
    assert status == 2
    assert "w.npz" in err
    assert out == ""


def test_a_case_that_contradicts_its_golden_values_exits_2(lockstep, tmp_path):
    (tmp_path / "c.toml").write_text(TEXT + '[expect]\nh = 5.0\natol = 1e-6\nsource = "a guess"')
    status, _, err = lockstep("run", tmp_path / "c.toml", "--backend", "numpy_loop")
    assert status == 2
    assert "golden h (a guess)" in err


def test_results_that_cannot_be_written_exit_2_before_anything_runs(lockstep, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = lockstep("run", "ones", "--backend", "numpy_loop", "--json", tmp_path / "file" / "r.json")
    assert status == 2
    assert "cannot be written" in err
    assert out == ""


def test_an_interruption_shows_and_writes_what_is_done(lockstep, planted, tmp_path):
    planted("interrupts")
    status, out, err = lockstep("run", "one-unit", "ones", "probe", "--json", tmp_path / "r.json")
    assert status == 130
    assert "interrupted" in err
    assert "1 run: 1 agree" in out
    assert [run["case"] for run in json.loads((tmp_path / "r.json").read_text())["runs"]] == ["one-unit"]


def test_markup_in_a_message_is_shown_as_text(lockstep, tmp_path):
    (tmp_path / "[bold]x[nope].toml").write_text(TEXT)
    status, _, err = lockstep("run", tmp_path / "[bold]x[nope].toml", "--backend", "numpy_loop")
    assert status == 2
    assert "[bold]x[nope].toml" in err


def test_what_is_unsupported_is_told_once_for_each_reason(lockstep, planted):
    planted("healthy", "refuses")
    status, out, _ = lockstep("run", "ones", "probe", "float64")
    assert status == 0
    assert "refuses, unsupported: no float32 here (ones, probe)" in out
    assert "refuses, unsupported: no float64 here (float64)" in out


def test_comparing_nothing_is_no_agreement(lockstep, planted):
    planted("refuses")
    status, out, _ = lockstep("run", "ones")
    assert status == 2
    assert "Nothing could be compared" in out


@pytest.mark.parametrize(
    ("statuses", "damaged", "exit_status"),
    [
        (["agree", "unsupported"], False, 0),
        (["agree", "diverge"], False, 1),
        (["unsupported"], False, 2),
        (["unsupported", "agree"], True, 2),
        (["diverge"], True, 2),
        *(
            (["agree", "diverge", status], damaged, 3)
            for status in ("failed", "crashed", "timeout")
            for damaged in (0, 1)
        ),
    ],
)
def test_of_several_exit_statuses_the_highest_counts(lockstep, tmp_path, statuses, damaged, exit_status):
    runs = [made("ones", f"b{k}", one, sigma=99.0 if one == "diverge" else None) for k, one in enumerate(statuses)]
    (tmp_path / "r.json").write_bytes(encode_results(together(*runs)))
    files = [tmp_path / "r.json", *([tmp_path / "absent.safetensors"] if damaged else [])]
    for options in ([], ["--quiet"], ["--sarif", tmp_path / "r.sarif"]):
        assert lockstep("compare", *files, *options)[0] == exit_status


@pytest.mark.parametrize("command", [("check", "--layout"), ("anatomy", "--layout"), ("convert", "--from")])
def test_help_and_errors_list_the_same_layouts(lockstep, tmp_path, command):
    file = tmp_path / "lstm.py"
    file.write_text("def port(x, weights, h0, c0): ...\n")
    name, option = command
    words = [file, "out.npz", "--to", "tf1"] if name == "convert" else [f"{file}:port"]
    _, _, err = lockstep(name, *words, option, "no-such")
    listed = re.search(r"There are: ([\w, ]+)\.", err.replace("\n", " "))
    assert listed, err
    _, out, _ = lockstep(name, "--help")
    shown = re.sub(r"[│\s]+", " ", out)
    assert listed[1] in shown
    assert tuple(listed[1].split(", ")) == LAYOUT_NAMES


def test_help_and_errors_list_the_same_arrays(lockstep, tmp_path):
    (tmp_path / "lstm.py").write_text("def port(x, weights, h0, c0): ...\n")
    _, _, err = lockstep("check", f"{tmp_path}/lstm.py:port", "--arrays", "cupy")
    assert f"There are: {', '.join(ARRAY_KINDS)}." in err.replace("\n", " ")
