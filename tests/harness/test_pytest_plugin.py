"""Case files as pytest tests, in a pytest of their own."""

from __future__ import annotations

import json

import pytest

TEXT = "[lstm]\ninput_size = 2\nhidden_size = 2\n[run]\ntimesteps = 4\nbatch = 2\n"

OFFER = """
from importlib.metadata import EntryPoint
from harness import backend

NAMES = {names!r}
backend.entry_points = lambda group: [EntryPoint(name, f"planted.{{name}}", group) for name in NAMES]
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A folder with cases, where some planted backends are offered."""
    monkeypatch.setenv("PYTHONPATH", str(pytester._request.config.rootpath / "tests"))

    def make(names, **cases):
        pytester.makeconftest(OFFER.format(names=names))
        for name, text in (cases or {"plain": TEXT, "other": TEXT}).items():
            pytester.path.joinpath("cases").mkdir(exist_ok=True)
            pytester.path.joinpath("cases", f"{name}.toml").write_text(text)
        return pytester

    return make


def run(project, *arguments):
    return project.runpytest_subprocess("cases", "-p", "no:cacheprovider", *arguments)


def test_each_case_and_backend_is_a_test_with_their_names(project):
    result = run(project(["healthy", "refuses"]), "-v", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["cases/other.toml::healthy PASSED*", "cases/plain.toml::refuses SKIPPED*"])
    result.stdout.fnmatch_lines(["SKIPPED*no float32 here*"])


def test_a_failure_reads_like_the_terminal(project):
    result = run(project(["half_right"]))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        'half_right leaves the reference in case "plain" at timestep 2 of 4.',
        "  First: h[[]2, 0, 1[]] = *, expected *: * sigma (* ULP, *), limit 10 sigma.",
        "  Worst: *",
        "  Rerun: pytest 'cases/plain.toml::half_right'",
    ])  # fmt: skip
    assert "Traceback" not in result.stdout.str()


def test_a_crash_costs_only_its_own_test(project):
    result = run(project(["dies", "healthy"]))
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        ["*crashed: its process was killed by SIGSEGV*", "*Segmentation fault*", "*dies.py*in run*"]
    )


def test_a_bad_case_is_one_message_and_the_others_run(project):
    result = run(project(["healthy"], plain=TEXT, bad=TEXT.replace("hidden_size", "hiden_size")))
    result.assert_outcomes(passed=0, errors=1)
    result.stdout.fnmatch_lines(["*unknown key 'hiden_size'. Did you mean 'hidden_size'?*"])
    assert "Traceback" not in result.stdout.str()
    run(project(["healthy"]), "--continue-on-collection-errors").assert_outcomes(passed=2, errors=1)


def test_an_unknown_backend_is_one_message(project):
    result = run(project(["healthy"]), "--lockstep-backend", "helthy")
    result.stdout.fnmatch_lines(['*no backend is called "helthy". Did you mean "healthy"?*'])


def test_other_toml_files_are_left_alone(project):
    made = project(["healthy"])
    made.path.joinpath("cases", "ruff.toml").write_text("line-length = 88")
    made.path.joinpath("cases", "broken.toml").write_text("[")
    run(made).assert_outcomes(passed=2)


def test_a_file_that_is_named_is_a_case_whatever_it_holds(project):
    made = project(["healthy"])
    made.path.joinpath("named.toml").write_text("[")
    result = made.runpytest_subprocess("named.toml", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*named.toml: not valid TOML*"])


@pytest.mark.parametrize("workers", [[], ["-n", "2"], ["-n", "2", "--dist", "loadgroup"]], ids=["alone", "n2", "group"])
def test_results_of_all_workers_end_in_one_file(project, workers):
    made = project(["healthy", "half_right", "dies", "refuses"])
    result = run(made, "--lockstep-json", "out/r.json", "--lockstep-html", "out", *workers)
    result.assert_outcomes(passed=2, failed=4, skipped=2)
    found = json.loads((made.path / "out" / "r.json").read_text())
    statuses = {(run["case"], run["backend"]): run["status"] for run in found["runs"]}
    assert len(statuses) == 8
    assert statuses["plain", "dies"] == "crashed"
    assert statuses["other", "half_right"] == "diverge"
    assert (made.path / "out" / "index.html").exists()


def test_xdist_keeps_ids_and_sends_a_framework_to_one_worker(project):
    result = run(project(["healthy", "half_right"], a=TEXT, b=TEXT, c=TEXT), "-n", "2", "-v")
    lines = [line for line in result.stdout.lines if "::" in line and line.startswith("[gw")]
    assert all("@" not in line for line in lines)
    for backend in ("healthy", "half_right"):
        assert len({line.split("]")[0] for line in lines if f".toml::{backend} " in line}) == 1


def test_two_cases_of_one_name_are_refused(project):
    made = project(["healthy"])
    made.path.joinpath("other").mkdir()
    made.path.joinpath("other", "plain.toml").write_text(TEXT)
    result = made.runpytest_subprocess("cases", "other", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*two cases are called "plain"*cases/plain.toml and *other/plain.toml*'])


def test_limit_and_selection_are_options(project):
    made = project(["healthy"])
    run(made, "--lockstep-limit", "0.0001").assert_outcomes(failed=2)
    run(made, "-k", "plain").assert_outcomes(passed=1, deselected=1)


def test_a_session_without_cases_is_left_alone(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2").assert_outcomes(passed=1)


def test_the_plugin_imports_neither_numpy_nor_msgspec_until_there_is_a_case(pytester):
    pytester.makepyfile(
        "import sys\ndef test_it(): assert not {'numpy', 'msgspec', 'pebble', 'rich.console'} & set(sys.modules)"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest").assert_outcomes(passed=1)
