"""Case files as pytest tests, in a pytest of their own: in this process, or in processes where that is what matters."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from xml.etree import ElementTree as ET

import pytest

from lockstep.harness.adapters.backend import BACKEND_GROUP
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.results import load_results
from lockstep.harness.jobs.findings import Finding, SmallestCase
from lockstep.harness.jobs.support import DECODER_FEATURES, FEATURES
from lockstep.harness.pytest_plugin.marks import FEATURE_MARKS, marks_of, usable

TEXT = "[lstm]\ninput_size = 2\nhidden_size = 2\n[run]\ntimesteps = 4\nbatch = 2\n"

OFFER = """
from importlib.metadata import EntryPoint
from lockstep.harness.adapters import backend
from lockstep.harness.pytest_plugin import marks

NAMES = {names!r}
offered = lambda group: [EntryPoint(name, f"planted.{{name}}", group) for name in NAMES]
backend.entry_points = marks.entry_points = offered
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A folder with cases, where some planted backends are offered, here and in other processes."""
    monkeypatch.setenv("PYTHONPATH", str(pytester._request.config.rootpath / "tests"))

    def make(names, **cases):
        pytester.makeconftest(OFFER.format(names=names))

        def offered(group):
            return [EntryPoint(name, f"planted.{name}", group) for name in names]

        for place in ("lockstep.harness.adapters.backend", "lockstep.harness.pytest_plugin.marks"):
            monkeypatch.setattr(f"{place}.entry_points", offered)
        pytester.path.joinpath("cases").mkdir(exist_ok=True)
        for name, text in (cases or {"plain": TEXT, "other": TEXT}).items():
            pytester.path.joinpath("cases", f"{name}.toml").write_text(text)
        return pytester

    return make


def run(project, *arguments):
    return project.runpytest_inprocess(*(arguments or ["cases"]), "-p", "no:cacheprovider", "--strict-markers")


def results(project, name="r.json"):
    """Give the saved results by case and backend."""
    return {(one.case, one.backend): one for one in load_results(project.path / name).runs}


def test_each_case_and_backend_is_a_test_with_their_names(project):
    result = run(project(["healthy", "refuses"]), "cases", "-v", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["cases/other.toml::healthy PASSED*", "cases/plain.toml::refuses SKIPPED*"])
    result.stdout.fnmatch_lines(["SKIPPED*no float32 here*"])


def test_a_failure_tells_first_and_worst_place_why_and_what_to_do(project, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    result = run(project(["resets_state"]), "cases/plain.toml")
    result.assert_outcomes(failed=1)
    headline = 'resets_state diverges from the reference in case "plain" at timestep 1 of 4.'
    result.stdout.fnmatch_lines([
        headline,
        "  First: i[[]1, 1, 1[]] = *, expected *: * sigma (* ULP, *), limit 10 sigma.",
        "  Worst: *",
        "  Why: The state is not carried: *[[]h_in-and-c_in:initial[]]",
        "  Fix: Feed the state that a step returns into the next step.",
        "  Rerun: pytest cases/plain.toml::resets_state",
        f"FAILED cases/plain.toml::resets_state - {headline}",
    ])  # fmt: skip
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str()


def test_a_crash_costs_only_its_own_test(project):
    result = run(project(["dies", "healthy"]))
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines([
        "*crashed: its process was killed by SIGSEGV*", "*Segmentation fault*", "*dies.py*in run*",
        "  Rerun: pytest cases/*.toml::dies",
    ])  # fmt: skip


def test_the_rerun_line_of_a_time_out_reruns_exactly_it_from_where_it_was_run(project, monkeypatch):
    made = project(["hangs_politely"], **{"with space": 'name = "spaced"\n' + TEXT})
    made.path.joinpath("below").mkdir()
    monkeypatch.chdir(made.path / "below")
    asked = ["../cases", "--rootdir", "..", "--lockstep-timeout", "1", "-m", "hangs_politely and float32"]
    result = run(made, *asked)
    result.assert_outcomes(failed=1)
    (line,) = [line for line in result.stdout.lines if line.startswith("  Rerun: ")]
    command = shlex.split(line.removeprefix("  Rerun: "))
    assert command[-1] == "../cases/with space.toml::hangs_politely"
    assert command[:3] == ["pytest", "--lockstep-timeout", "1"]
    assert command[command.index("-m") + 1] == "hangs_politely and float32"
    run(made, "--co", *command[1:]).stdout.fnmatch_lines(["*1 test collected*"])


def test_a_bad_case_is_one_message_and_the_others_run(project):
    made = project(["healthy"], plain=TEXT, bad=TEXT.replace("hidden_size", "hiden_size"))
    result = run(made, "cases", "--continue-on-collection-errors")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*unknown key 'hiden_size'. Did you mean 'hidden_size'?*"])
    assert "Traceback" not in result.stdout.str()


def test_a_case_that_cannot_be_run_is_one_message_with_a_rerun_line(project):
    golden = TEXT + '[expect]\nh = [[[0.5, 0.5]]]\natol = 1e-6\nsource = "wishes"\n'
    result = run(project(["healthy"], wrong=golden.replace("timesteps = 4\nbatch = 2", "timesteps = 1\nbatch = 1")))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its golden h (wishes) is *", "  Rerun: pytest cases/wrong.toml::healthy"])
    assert "Traceback" not in result.stdout.str()


def test_an_unknown_backend_is_one_message(project):
    result = run(project(["healthy"]), "cases", "--lockstep-backend", "helthy")
    result.stdout.fnmatch_lines(['*no backend is called "helthy". Did you mean "healthy"?*'])


def test_other_toml_files_are_left_alone(project):
    made = project(["healthy"])
    made.path.joinpath("cases", "ruff.toml").write_text("line-length = 88")
    made.path.joinpath("cases", "broken.toml").write_text("[")
    run(made).assert_outcomes(passed=2)


def test_a_file_that_is_named_is_a_case_whatever_it_holds(project):
    made = project(["healthy"])
    made.path.joinpath("named.toml").write_text("[")
    result = run(made, "named.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*named.toml: not valid TOML*"])


@pytest.mark.parametrize(
    "workers",
    [pytest.param(["-p", "no:xdist"], marks=pytest.mark.slow), ["-n", "2", "--dist", "loadgroup"]],
    ids=["alone", "group"],
)
def test_results_of_all_workers_end_in_one_file(project, workers):
    made = project(["healthy", "resets_state", "dies", "refuses"])
    outputs = ["--lockstep-json", "out/r.json", "--lockstep-html", "out", "--junit-xml", "junit.xml"]
    result = made.runpytest_inprocess("cases", "-v", *outputs, *workers)
    result.assert_outcomes(passed=2, failed=4, skipped=2)
    result.stdout.fnmatch_lines(["lockstep: 8 results in */out/r.json and */out/index.html"])
    assert "@" not in "".join(line for line in result.stdout.lines if ".toml::" in line)
    found = results(made, "out/r.json")
    assert len(found) == 8
    assert found["plain", "dies"].status == "crashed"
    assert found["other", "resets_state"].diagnosis[0].fault == "h_in-and-c_in:initial"
    assert found["other", "resets_state"].details["c"].counterfactual
    assert found["other", "resets_state"].rerun == "pytest cases/other.toml::resets_state"
    cases = json.loads((made.path / "out" / "r.json").read_text())["cases"]
    assert cases["plain"]["features"] == ["float32"]
    assert "resets_state" in (made.path / "out" / "index.html").read_text()
    _assert_junit_tells_results(made.path / "junit.xml")
    # What failed last, under whatever scheduler, is what is run again.
    made.runpytest_inprocess("cases", "--lf", "--co", "-q").stdout.fnmatch_lines(["4 tests collected*"])


def _assert_junit_tells_results(path):
    tests = {test.get("name"): test for test in ET.parse(path).iter("testcase") if "other" in test.get("classname")}
    told = {one.get("name"): one.get("value") for one in tests["resets_state"].iter("property")}
    assert told["lockstep_status"] == "diverge"
    assert told["lockstep_case"] == "other"
    assert told["lockstep_backend"] == "resets_state"
    assert float(told["lockstep_sigma"]) > 1e5
    assert told["lockstep_limit"] == "10 sigma"
    assert told["lockstep_first_divergence"] == "i, timestep 1"
    assert told["lockstep_diagnosis"] == "h_in-and-c_in:initial"
    assert told["lockstep_rerun"] == "pytest cases/other.toml::resets_state"
    failure = tests["resets_state"].find("failure")
    assert failure.get("message") == 'resets_state diverges from the reference in case "other" at timestep 1 of 4.'
    assert "  Fix: Feed the state" in failure.text
    told = {one.get("name"): one.get("value") for one in tests["refuses"].iter("property")}
    assert told["lockstep_message"] == "no float32 here"


def test_load_sends_a_framework_to_one_worker(project):
    made = project(["healthy", "refuses"], a=TEXT, b=TEXT, c=TEXT)
    result = made.runpytest_inprocess(".", "-n", "2", "--dist", "load", "-v")
    result.assert_outcomes(passed=3, skipped=3)
    lines = [line for line in result.stdout.lines if "::" in line and line.startswith("[gw")]
    for backend in ("healthy", "refuses"):
        assert len({line.split("]")[0] for line in lines if f".toml::{backend} " in line}) == 1


def test_two_cases_of_one_name_are_refused(project):
    made = project(["healthy"])
    made.path.joinpath("other").mkdir()
    made.path.joinpath("other", "plain.toml").write_text(TEXT)
    result = run(made, "cases", "other")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*two cases are called "plain"*cases/plain.toml and *other/plain.toml*'])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lockstep-limit", "0"], "--lockstep-limit 0: must be a number above 0."),
        (["--lockstep-timeout", "nan"], "--lockstep-timeout nan: must be a number above 0."),
        (["--lockstep-json", "conftest.py/r.json"], "*conftest.py*: cannot be written to: *"),
    ],
)
def test_a_wrong_option_is_one_message_before_anything_runs(project, options, message):
    result = run(project(["healthy"]), "cases", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


# Marks


def test_marks_select_backends_and_features(project):
    made = project(["healthy", "refuses"], plain=TEXT, back=TEXT + 'dtype = "float16"\ngradients = true\n')
    selected = {
        "healthy": 2,
        "gradients": 2,
        "gradients and not float16": 0,
        "float32 and refuses": 1,
        "lstm": 4,
        "attention_decoder": 0,
    }
    for expression, count in selected.items():
        found = run(made, "cases", "--co", "-q", "-m", expression).stdout.lines
        assert sum(".toml::" in line for line in found) == count, expression


def test_all_marks_are_listed_and_every_feature_has_one(project):
    result = run(project(["healthy"]), "--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.hard_sigmoid_z_6: *", "@pytest.mark.healthy: cases through the backend*"]
    )
    single = {name for name in {**FEATURES, **DECODER_FEATURES} if "," not in name and name != "bidirectional layers"}
    assert single == FEATURE_MARKS.keys() - {"lstm", "attention decoder"}
    assert all(mark.isidentifier() for mark in marks_of("healthy", "lstm", FEATURE_MARKS))


def test_a_backend_whose_name_means_something_to_pytest_has_no_mark():
    assert not any(usable(name) for name in ("skip", "xfail", "_mine", "a:b", "a(b", ""))
    assert all(usable(name) for name in ("torch_lstm", "my-lstm", "lstm2"))


# Known findings


@pytest.fixture
def finding(monkeypatch):
    """Plant a finding: this backend is known to diverge in every case."""

    def plant(backend):
        one = Finding(
            title="It forgets", backends=(backend,), framework="brains", seen=("1.0",), status="diverge", kind="bug",
            what="It forgets.", specification="It remembers.", name="forgets",
            case=SmallestCase(lstm=next(iter(FEATURES.values())).lstm, run=next(iter(FEATURES.values())).run),
        )  # fmt: skip
        monkeypatch.setattr("lockstep.harness.jobs.findings.findings", lambda: (one,))

    return plant


def test_a_known_finding_is_an_expected_failure(project, finding):
    finding("resets_state")
    result = run(project(["resets_state"]), "cases", "-rx", "--lockstep-json", "r.json")
    result.assert_outcomes(xfailed=2)
    result.stdout.fnmatch_lines(["XFAIL cases/plain.toml::resets_state - known finding forgets*"])


def test_a_known_finding_that_does_not_show_fails_and_is_named(project, finding):
    finding("healthy")
    made = project(["healthy"])
    result = run(made, "cases/plain.toml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "[[]XPASS(strict)[]] the known finding forgets did not show: healthy agrees with the reference in *",
        "  It is: It forgets (bug; it comes out as diverge).",
        "  Seen in brains 1.0; here are *",
        "  Rerun: pytest cases/plain.toml::healthy",
    ])  # fmt: skip


def test_a_known_finding_that_a_wide_limit_admits_passes(project, finding):
    finding("resets_state")
    run(project(["resets_state"]), "cases", "--lockstep-limit", "1e9").assert_outcomes(passed=2)


# Sessions that end before their time


def test_x_leaves_the_results_so_far(project):
    made = project(["dies", "healthy", "refuses"], plain=TEXT)
    result = run(made, "cases", "-x", "--lockstep-json", "r.json")
    result.assert_outcomes(failed=1)
    assert {key[1]: one.status for key, one in results(made).items()} == {"dies": "crashed"}


def test_an_interrupt_leaves_the_results_so_far(project):
    made = project(["agrees", "hangs"], plain=TEXT)
    made.makeconftest(
        OFFER.format(names=[])
        + "backend.entry_points = lambda group: [EntryPoint('agrees', 'planted.healthy', group),"
        + " EntryPoint('hangs', 'planted.hangs', group)]\n"
    )
    command = [sys.executable, "-m", "pytest", "cases", "-v", "--lockstep-json", "r.json"]
    process = subprocess.Popen(command, cwd=made.path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if "::hangs" in line or "PASSED" in line:
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert {key[1]: one.status for key, one in results(made).items()} == {"agrees": "agree"}


def test_an_xdist_worker_that_dies_leaves_a_result_and_says_what_it_was_at(project):
    made = project([])
    made.makepyfile(
        test_ports="import os\n"
        "def test_dies(lockstep):\n    lockstep.check(lambda *a: os._exit(1), case='ones')\n"
        "def test_other(): pass\n"
    )
    result = made.runpytest_inprocess("test_ports.py", "-n", "1", "--lockstep-json", "r.json", "--junit-xml", "j.xml")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([
        "worker 'gw0' crashed while running 'test_ports.py::test_dies'",
        '<lambda> (test_ports.py::test_dies), case "ones": crashed: the pytest process that ran it, * died; *',
        "  Rerun: pytest test_ports.py::test_dies",
    ])  # fmt: skip
    found = results(made)["ones", "<lambda> (test_ports.py::test_dies)"]
    assert found.status == "crashed"
    assert found.rerun == "pytest test_ports.py::test_dies"
    assert "Rerun: " in next(ET.parse(made.path / "j.xml").iter("error")).text


def _properties(path):
    return [(one.get("name"), one.get("value")) for one in ET.parse(path).iter("property")]


# What is told


def test_junit_is_valid_whatever_is_told(project):
    made = project([])
    made.makepyfile(
        test_ports="def test_it(lockstep):\n"
        "    def port(x, weights, h0, c0, lengths=None):\n"
        "        raise ValueError('<&\"]]> \\x00\\x1b[2J \\ud800 \\ufffe')\n"
        "    port.__name__ = '<b>\\x07\\u202e\\udfff'\n"
        "    lockstep.check(port, case='ones')\n"
    )
    result = run(made, "test_ports.py", "--junit-xml", "j.xml", "--lockstep-json", "r.json", "--lockstep-html", "out")
    result.assert_outcomes(failed=1)
    told = dict(_properties(made.path / "j.xml"))
    assert told["lockstep_status"] == "failed"
    assert '<&"]]>' in told["lockstep_message"]
    assert load_results(made.path / "r.json").runs[0].status == "failed"


def test_limits_of_pyproject_hold_and_are_told(project):
    made = project(["healthy"], plain=TEXT, own=TEXT + "[tolerance]\nrtol = 1e-3\natol = 1e-3\n")
    made.makepyprojecttoml("[tool.lockstep]\nlimit = 0.0001\n")
    result = run(made, "cases", "--lockstep-json", "r.json")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([
        "lockstep: limit 0.0001 sigma ([[]tool.lockstep[]] of *pyproject.toml)",
        "  First: *, limit 0.0001 sigma (pyproject.toml).",
    ])  # fmt: skip
    assert {case: one.limit.origin for (case, _), one in results(made).items()} == {"plain": "pyproject", "own": "case"}
    run(made, "cases", "--lockstep-limit", "20").assert_outcomes(passed=2)


def test_a_wrong_setting_is_one_message(project):
    made = project(["healthy"])
    made.makepyprojecttoml("[tool.lockstep]\nlimt = 20\n")
    result = run(made)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([
        "ERROR: *pyproject.toml, [[]tool.lockstep[]]: unknown key 'limt'. Did you mean 'limit'? Allowed: *, onnx2tf."
    ])  # fmt: skip


# Sessions that have nothing to do with Lockstep


def test_a_session_without_cases_is_left_alone(pytester):
    pytester.makepyfile(
        "import sys\n"
        "HEAVY = {'numpy', 'msgspec', 'rich.console', 'cyclopts',\n"
        "         'lockstep.harness.comparison.results', 'lockstep.harness.adapters.backend',\n"
        "         'lockstep.harness.adapters.processes.child'}\n"
        "def test_it(): assert not HEAVY & set(sys.modules)"
    )
    pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-n", "1").assert_outcomes(passed=1)


def test_offered_backends_are_looked_for_where_the_core_does():
    from lockstep.harness.pytest_plugin.marks import BACKENDS

    assert BACKENDS == BACKEND_GROUP


WRONG_PORT = """
import numpy as np

def port(x, weights, h0, c0):
    h_seq, c_seq = [], []
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + h0 @ weights["R"].T + weights["b"], 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c_seq.append(f * c0 + i * np.tanh(g))
        h_seq.append(o * np.tanh(c_seq[-1]))
    return np.stack(h_seq), np.stack(c_seq)
"""


@pytest.mark.parametrize("workers", [[], pytest.param(["-n", "2"], marks=pytest.mark.slow)], ids=["alone", "n2"])
def test_a_report_annotates_the_port_once_for_each_cause_and_cases_at_their_files(
    project, monkeypatch, capsys, workers
):
    project = project(["resets_state"], plain=TEXT)
    project.makepyfile(
        lstm=WRONG_PORT,
        test_lstm="import lstm, os\n"
        "def test_ones(lockstep): lockstep.check(lstm.port, case=['ones', 'probe'])\n"
        "def test_square(lockstep, monkeypatch, tmp_path):\n"
        "    monkeypatch.chdir(tmp_path)\n"
        "    lockstep.check(lstm.port, case='square')\n",
    )
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    run(project, "cases", "test_lstm.py", "--lockstep-json", "r.json", *workers).assert_outcomes(failed=3)
    saved = load_results(project.path / "r.json")
    assert saved.files == {"plain": "cases/plain.toml"}
    assert {(source.file, source.line) for source in saved.sources.values()} == {("lstm.py", 3)}
    assert saved.sources.keys() == {"port (test_lstm.py::test_ones)", "port (test_lstm.py::test_square)"}

    monkeypatch.chdir(project.path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["report", "r.json", "--github", "--sarif", "r.sarif"])
    out = capsys.readouterr().out
    placed = re.findall(r"::error file=(.*?),line=(\d+),title=Lockstep%3A (\w+)", out)
    assert sorted(placed) == [("cases/plain.toml", "1", "resets_state"), ("lstm.py", "3", "port")]
    assert "The same in: " in out
    found = json.loads((project.path / "r.sarif").read_text())["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in found]
    assert sorted(places) == ["cases/plain.toml", "lstm.py"]


def test_a_port_of_a_library_is_annotated_at_its_test(project):
    project = project(["healthy"], plain=TEXT)
    project.makepyfile(
        test_lstm="import numpy\n\n\ndef test_it(lockstep):\n    lockstep.check(numpy.linalg.norm, case='ones')\n"
    )
    run(project, "test_lstm.py", "--lockstep-json", "r.json").assert_outcomes(failed=1)
    (source,) = load_results(project.path / "r.json").sources.values()
    assert (source.file, source.line) == ("test_lstm.py", 4)
