"""The fixture ``lockstep`` in a pytest of its own, and the same check from plain Python."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from lockstep.harness.comparison.results import Limit, RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.testing import assert_agrees, complaint

PORTS = """
import os, time
import numpy as np

def step(x, h, c, w):
    i, f, g, o = np.split(x @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    i, f, o = (0.5 + 0.5 * np.tanh(0.5 * gate) for gate in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c

def unrolled(x, weights, h0, c0, lengths=None, *, carry):
    h, c, hs, cs = h0, c0, [], []
    for t in range(len(x)):
        new_h, new_c = step(x[t], *((h, c) if carry else (h0, c0)), weights)
        valid = np.ones(len(h0), bool)[:, None] if lengths is None else (t < lengths)[:, None]
        h, c = np.where(valid, new_h, h), np.where(valid, new_c, c)
        hs.append(np.where(valid, new_h, 0))
        cs.append(c)
    return np.stack(hs), np.stack(cs)

def healthy(x, weights, h0, c0, lengths=None):
    return unrolled(x, weights, h0, c0, lengths, carry=True)

def resets(x, weights, h0, c0, lengths=None):
    return unrolled(x, weights, h0, c0, lengths, carry=False)

def without_lengths(x, weights, h0, c0):
    return unrolled(x, weights, h0, c0, carry=True)

def raises(x, weights, h0, c0, lengths=None):
    raise ValueError("the weights are bewitched")

def dies(x, weights, h0, c0, lengths=None):
    os.abort()

def hangs(x, weights, h0, c0, lengths=None):
    time.sleep(60)

def gives_back(x, weights, h0, c0, dh, dc):
    return {"h_seq": healthy(x, weights, h0, c0)[0], "c0": dc}
"""

CASE = "[lstm]\ninput_size = 2\nhidden_size = 2\n[run]\ntimesteps = 4\nbatch = 2\n"


@pytest.fixture
def run_tests(pytester):
    """Write ports and tests of them into files, and run the tests."""

    def run(*tests, options=()):
        pytester.makepyfile(ports=PORTS)
        body = "\n".join(f"def test_{number}(lockstep):\n    {test}" for number, test in enumerate(tests))
        pytester.makepyfile(test_ports=f"import ports\nfrom functools import partial\n{body}")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

    return run


def test_a_port_that_agrees_passes_over_the_whole_suite(run_tests):
    run_tests(
        "assert {run.status for run in lockstep.check(ports.healthy).runs} == {'agree'}", options=["-W", "error"]
    ).assert_outcomes(passed=1)


def test_a_port_that_resets_its_state_is_told_so(run_tests):
    result = run_tests("lockstep.check(ports.resets)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        ">*lockstep.check(ports.resets)",
        "E * AssertionError: resets diverges at timestep 1 of * in case * (* of * cases diverge).",
        "E *  First: c[[]1, 0, 0[]] = *, expected *: * sigma *, limit 10 sigma.",
        "E *  Why: The state is not carried: *initial state*[[]h_in-and-c_in:initial[]]",
        "E *  Fix: Feed the state that a step returns into the next step.",
        "FAILED test_ports.py::test_0 - AssertionError: resets diverges at timestep 1*",
    ])  # fmt: skip


@pytest.mark.parametrize(
    "call",
    ["resets, case='ones'", "raises, case='ones'", "healthy, case='onse'", "healthy, layout='torhc'"],
    ids=["diverges", "raises", "case", "layout"],
)
def test_no_frame_of_ours_stands_between_a_test_and_its_failure(run_tests, call):
    result = run_tests(f"lockstep.check(ports.{call})")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "__tracebackhide__" not in text
    assert not re.search(r"harness/\w+\.py:\d+", text)
    assert "During handling" not in text


@pytest.mark.parametrize(
    "port",
    ["lambda *a, **k: ports.healthy(*a, **k)", "partial(ports.unrolled, carry=True)"],
    ids=["lambda", "partial"],
)
def test_what_no_other_process_can_import_is_checked_all_the_same(run_tests, port):
    run_tests(f"lockstep.check({port}, case='probe')").assert_outcomes(passed=1)


def test_a_closure_that_diverges_is_told_why(run_tests):
    result = run_tests("lockstep.check(lambda *a, **k: ports.resets(*a, **k), case='probe')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*<lambda> diverges at timestep 1 *", "*Fix: Feed the state*"])


def test_a_port_that_raises_fails_with_its_message_once(run_tests):
    result = run_tests("lockstep.check(ports.raises)", "lockstep.check(lambda *a, **k: ports.raises(*a))")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        'E * raises, case "*": failed: it raised ValueError in ports.py, line *: the weights are bewitched.',
        'E * File "*ports.py", line *, in raises',
        "E *  The same in: *, *.",
        'E * <lambda>, case "*": failed: it raised ValueError in test_ports.py, line *: the weights are bewitched.',
    ])  # fmt: skip
    assert result.stdout.str().count("E         ValueError: the weights are bewitched") == 2


def test_a_port_that_dies_or_hangs_costs_only_its_own_test(run_tests):
    result = run_tests(
        "lockstep.check(ports.dies, case='ones')",
        "lockstep.check(ports.hangs, case='ones', timeout=1)",
        "lockstep.check(ports.healthy, case='ones')",
    )
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines([
        'E * dies, case "ones": crashed: its process was killed by SIGABRT, in ports.py, line *, in dies.',
        'E * hangs, case "ones": timeout: not done after 1 s, in ports.py, line *, in hangs.',
    ])  # fmt: skip


def test_cases_are_named_or_files(run_tests, pytester):
    pytester.mkdir("own")
    pytester.path.joinpath("own", "mine.toml").write_text(CASE)
    run_tests(
        "names = ['ones', 'own/mine.toml']\n"
        "    assert [run.case for run in lockstep.check(ports.healthy, case=names).runs] == ['ones', 'mine']",
        "from pathlib import Path; lockstep.check(ports.healthy, case=Path('own'))",
        options=["test_ports.py"],
    ).assert_outcomes(passed=2)


def test_gradients_are_checked_in_cases_that_ask_for_them(run_tests, pytester):
    pytester.path.joinpath("back.toml").write_text(CASE + "gradients = true\n")
    result = run_tests(
        "lockstep.check(ports.gives_back, case='back.toml')", "lockstep.check(ports.healthy, case='back.toml')",
        options=["test_ports.py"],
    )  # fmt: skip
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([
        'E *AssertionError: gives_back diverges at timestep 0 of 4, in the backward pass (dc0) in case "back".',
    ])  # fmt: skip


def test_an_unknown_case_is_a_clear_error(run_tests):
    result = run_tests("lockstep.check(ports.healthy, case='onse')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['E *no case is called "onse". Did you mean "ones"? There are: *'])
    result.stdout.fnmatch_lines(["E *  Rerun: pytest test_ports.py::test_0"])


def test_what_is_unsupported_is_allowed_unless_nothing_else_is_left(run_tests):
    result = run_tests(
        "lockstep.check(ports.without_lengths, case=['lengths', 'ones'])",
        "lockstep.check(ports.without_lengths, case='lengths')",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *Nothing could be compared.", "E *unsupported: it takes no sequence lengths: *"])


@pytest.mark.parametrize("workers", [[], pytest.param(["-n", "2"], marks=pytest.mark.slow)], ids=["alone", "n2"])
def test_results_of_checks_join_the_report(run_tests, pytester, workers):
    tests = [
        "lockstep.check(ports.healthy, case='ones'); lockstep.check(ports.healthy, case='ones', layout='torch')",
        "lockstep.check(ports.resets, case='ones')",
    ]
    # `healthy` takes canonical weights only: the second check of the first test fails.
    result = run_tests(*tests, options=["--lockstep-json", "r.json", "--lockstep-html", "out", *workers])
    result.assert_outcomes(failed=2)
    found = {run["backend"]: run for run in json.loads(pytester.path.joinpath("r.json").read_text())["runs"]}
    assert {name: run["status"] for name, run in found.items()} == {
        "healthy (test_ports.py::test_0)": "agree",
        "healthy (test_ports.py::test_0 2)": "failed",
        "resets (test_ports.py::test_1)": "diverge",
    }
    resets = found["resets (test_ports.py::test_1)"]
    assert resets["rerun"] == "pytest test_ports.py::test_1"
    for test in ("test_0", "test_1"):
        result.stdout.fnmatch_lines([f"E *  Rerun: pytest test_ports.py::{test}"])
    assert resets["diagnosis"][0]["fault"] == "h_in-and-c_in:initial"
    assert "h_in-and-c_in:initial" in pytester.path.joinpath("out", "index.html").read_text()


def test_the_command_lines_limit_holds_unless_a_check_has_its_own(run_tests):
    tests = ["lockstep.check(ports.healthy, case='ones')", "lockstep.check(ports.healthy, case='ones', limit=10)"]
    run_tests(*tests, options=["--lockstep-limit", "0.0001"]).assert_outcomes(failed=1, passed=1)


def test_the_projects_limit_holds_unless_a_check_has_its_own(run_tests, pytester):
    pytester.makepyprojecttoml("[tool.lockstep]\nlimit = 0.0001\n")
    tests = ["lockstep.check(ports.healthy, case='ones')", "lockstep.check(ports.healthy, case='ones', limit=10)"]
    result = run_tests(*tests)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E *  First: *, limit 0.0001 sigma (pyproject.toml)."])


def test_a_fixture_may_check_as_well(pytester):
    pytester.makepyfile(ports=PORTS)
    pytester.makepyfile(
        "import pytest, ports\n"
        "@pytest.fixture\ndef checked(lockstep): return lockstep.check(ports.healthy, case='ones')\n"
        "def test_it(checked): assert len(checked.runs) == 1"
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--lockstep-json", "r.json").assert_outcomes(passed=1)
    assert len(json.loads(pytester.path.joinpath("r.json").read_text())["runs"]) == 1


def test_only_what_failed_last_is_run_again(run_tests, pytester):
    tests = ["lockstep.check(ports.healthy, case='ones')", "lockstep.check(ports.raises, case='ones')"]
    run_tests(*tests, options=["-p", "cacheprovider"]).assert_outcomes(passed=1, failed=1)
    pytester.runpytest_inprocess("--lf").assert_outcomes(failed=1)


def test_the_fixture_explains_itself(pytester):
    result = pytester.runpytest_inprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["lockstep -- *", "*``lockstep.check(port)`` fails where it diverges*"])


# From plain Python


def zeros(x, weights, h0, c0, lengths=None):  # noqa: ARG001 - what every port is handed
    h = np.zeros((*x.shape[:2], h0.shape[1]), x.dtype)
    return h, h.copy()


def test_results_are_handed_over_before_they_are_judged():
    found = []
    with pytest.raises(AssertionError, match=r'zeros diverges at timestep 0 of 3 in case "ones"\.'):
        assert_agrees(zeros, case="ones", on_results=found.append)
    assert [run.status for run in found[0].runs] == ["diverge"]


def test_the_limit_of_the_nearest_pyproject_holds_in_plain_python_too(tmp_path, monkeypatch):
    tmp_path.joinpath("pyproject.toml").write_text("[tool.lockstep]\nlimit = 1e12\n")
    monkeypatch.chdir(tmp_path)
    # The reference's golden values are missed under every limit: this case has none.
    (run,) = assert_agrees(zeros, case="one-timestep").runs
    assert run.limit == Limit("pyproject", sigma=1e12)


@pytest.mark.parametrize(
    ("port", "options", "message"),
    [
        ("lstm.py:port", {}, "'lstm.py:port' is not a port: pass the function itself"),
        (zeros, {"case": []}, "case=[] names no case. To use all, leave it out"),
        (zeros, {"case": ["ones", "tinny"]}, 'no case is called "tinny". Did you mean "tiny"?'),
        (zeros, {"layout": "kears"}, 'Did you mean "keras"?'),
        (zeros, {"arrays": "cupy"}, "There are: numpy, torch, jax, tensorflow."),
        (zeros, {"limit": 0}, "limit=0: must be a number above 0."),
        (zeros, {"limit": "20"}, "limit='20': must be a number above 0."),
        (zeros, {"timeout": float("nan")}, "timeout=nan: must be a number above 0."),
        (zeros, {"seed": -1}, "seed=-1: must be 0 or above."),
    ],
)
def test_a_wrong_request_is_one_message(port, options, message):
    with pytest.raises(LockstepError, match=re.escape(message)):
        assert_agrees(port, **options)


def test_a_complaint_steers_no_terminal():
    text = complaint([RunResult(case="ones", backend="port", status="failed", message="\x1b[2J gone")])
    assert text == 'port, case "ones": failed: �[2J gone.'


def test_a_module_says_how_its_ports_get_their_weights_here_too(monkeypatch):
    monkeypatch.setitem(globals(), "LOCKSTEP", {"layout": "keras"})
    given = []

    def port(x, weights, h0, c0):  # noqa: ARG001
        given.append(set(weights))
        return np.zeros((len(x), *h0.shape), x.dtype), None

    for layout in (None, "tf1"):
        with pytest.raises(AssertionError, match="port diverges"):
            assert_agrees(port, case="ones", layout=layout)
    assert given[0] == {"kernel", "recurrent_kernel", "bias"}
    assert given[-1] == {"kernel", "bias"}
