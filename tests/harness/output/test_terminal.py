"""What a terminal shows, and what a pipe gets: widths, colors, progress, --quiet, and what a shell completes."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from made_results import HOSTILE, made, together
from rich.cells import cell_len
from rich.console import Console

from lockstep.harness.cli.app import app
from lockstep.harness.cli.options import complete_backend, complete_case, complete_finding
from lockstep.harness.comparison.results import encode_results
from lockstep.harness.diagnosis.adequacy import Adequacy
from lockstep.harness.jobs.findings import findings
from lockstep.harness.output.columns import Column, broken, fitting, widths
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.overview import TABLE_TITLE
from lockstep.harness.output.progress import advance, look_for, progress, search
from lockstep.harness.output.terminal import show_adequacy, show_findings, show_results

ESCAPE = "\x1b"


def shown(show, *arguments, width=80, **options):
    out = io.StringIO()
    show(Console(file=out, width=width), *arguments, **options)
    return out.getvalue()


# Tables


LONGEST = "flax_linen_optimized_and_longer"
FLEET = [*(f"framework_{k}_layer" for k in range(38)), LONGEST, "b"]
MANY_CASES = [*(f"case-{k}" for k in range(42)), "a-case-of-a-name-that-is-long", "a"]


def tables_in(text):
    """The lines of the tables, without the title and what is told below them."""
    return text.removeprefix(f"{TABLE_TITLE}:\n").partition("\nb, unsupported: ")[0].splitlines()


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("cases", [MANY_CASES, MANY_CASES[-1:], MANY_CASES[-2:]], ids=len)
def test_of_forty_backends_every_name_stands_in_one_line_and_no_number_is_broken(width, cases):
    runs = [made(case, name, sigma=0.5) for case in cases for name in FLEET[:-2]]
    runs += [made(case, LONGEST, "diverge", sigma=1.5e37) for case in cases]
    runs += [made(case, "b", "unsupported", message="no") for case in cases]
    lines = tables_in(shown(show_results, runs, width=width))
    assert max(map(cell_len, lines)) <= width
    words = [word for line in lines for word in line.split()]
    tables = words.count("case") + words.count("backend")
    assert all(words.count(name) >= 1 for name in (*FLEET, *cases))
    assert sum(words.count(name) for name in cases) in {len(cases), len(cases) * tables}
    assert words.count("1.5e+37") == len(cases)
    assert words.count("0.5") == len(cases) * 38
    assert "…" not in " ".join(lines)


def test_a_table_turns_where_its_backends_do_not_fit_beside_each_other_and_its_cases_do():
    few = tables_in(shown(show_results, [made("ones", name, sigma=0.5) for name in FLEET[:3]]))
    assert [line.split()[0] for line in few[:3:2]] == ["case", "ones"]
    turned = tables_in(shown(show_results, [made("ones", name, sigma=0.5) for name in FLEET]))
    assert [line.split() for line in turned[:3:2]] == [["backend", "ones"], ["framework_0_layer", "0.5"]]


def test_a_pipe_gets_whole_names(tmp_path):
    long = [made("ones", f"port (tests/test_{k}.py::test_of_a_name_that_is_{'very_' * 12}long)") for k in range(3)]
    (tmp_path / "saved.json").write_bytes(encode_results(together(*long)))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    words = [sys.executable, "-m", "lockstep", "compare", str(tmp_path / "saved.json")]
    lines = subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stdout.splitlines()
    assert all(sum(run.backend in line for line in lines) == 1 for run in long)


def test_a_case_and_a_backend_of_endless_names_are_whole_and_steer_no_terminal():
    text = shown(show_results, [made("x" * 200, "y" * 200, sigma=0.5), made(HOSTILE, "b", sigma=0.5)])
    assert {"x" * 200, "y" * 200} <= set(text.split())
    assert ESCAPE not in text


@pytest.mark.parametrize("count", [3, 5, 13, 26, 60])
def test_adequacy_of_many_cases_fits(count):
    sigma = {f"fault-of-a-long-name-number-{k}-in-W-and-b": [float(j % 2) * 1e7 for j in range(count)] for k in (1, 2)}
    text = shown(show_adequacy, Adequacy([f"case-of-number-{j}" for j in range(count)], 10.0, sigma), full=False)
    table = text.partition("case-of-number-0 detects")[0]
    assert max(map(cell_len, table.splitlines())) <= 80
    assert table.count("·") == 2 * -(-count // 2)


def test_findings_and_cases_fit(lockstep):
    assert max(map(cell_len, shown(show_findings, findings(), full=False).splitlines())) <= 80
    _, out, _ = lockstep("cases")
    assert max(map(cell_len, out.splitlines())) <= 80


def test_names_are_broken_where_their_parts_are_joined():
    assert broken("tf_dynamic_rnn", 8) == "tf_\ndynamic_\nrnn"
    assert broken("tf_dynamic_rnn", 20) == "tf_dynamic_rnn"
    assert broken("abcdefghij", 4) == "abcd\nefgh\nij"


def test_columns_are_parted_evenly_and_take_the_room_that_is_left():
    columns = [Column(f"a {k}", ("0.5", "diverge 12")) for k in range(7)]
    assert [len(group) for group in fitting(columns, 50, most=8)] == [4, 3]
    assert widths(columns[:2], 30) == [10, 10]
    assert widths(columns[:2], 21) == [10, 7]
    assert widths(columns[:2], 18) == [7, 7]


# Colors, pipes


@pytest.mark.parametrize(
    ("variables", "options", "styled", "colored"),
    [
        ({}, [], False, False),
        ({"FORCE_COLOR": "1"}, [], True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], True, False),
        ({"FORCE_COLOR": "1"}, ["--no-color"], True, False),
        ({"NO_COLOR": "1"}, [], False, False),
    ],
)
def test_a_pipe_gets_plain_text_unless_colors_are_forced(lockstep, monkeypatch, variables, options, styled, colored):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.setenv(name, "")  # so that it is set back, whatever the command sets
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    status, out, err = lockstep("run", "ones", "--backend", "numpy_loop", "--limit", "0.001", *options)
    assert status == 1
    assert (ESCAPE in out) == styled
    assert bool(re.search(ESCAPE + r"\[(\d;)*3\d", out)) == colored
    assert err == ""  # no progress, whatever is forced


@pytest.mark.parametrize("place", [0, 2, 4])
def test_no_color_may_stand_anywhere_but_is_a_value_after_two_dashes(lockstep, monkeypatch, place):
    monkeypatch.setenv("NO_COLOR", "")
    words = ["run", "ones", "--backend", "numpy_loop"]
    assert lockstep(*words[:place], "--no-color", *words[place:])[0] == 0
    assert os.environ["NO_COLOR"] == "1"
    assert lockstep("run", "--", "--no-color")[0] == 2


def test_a_pipe_is_80_columns_wide_whatever_the_terminal_is(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert console_beside().width == 80
    monkeypatch.setenv("COLUMNS", "132")
    assert console_beside().width == 132


def test_an_encoding_without_the_tables_characters_is_no_traceback():
    found = subprocess.run(
        [sys.executable, "-m", "lockstep", "cases"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert found.returncode == 0
    assert found.stderr == ""
    assert "\\xb1" in found.stdout


# Progress


def test_progress_tells_the_time_left_and_cuts_long_names(monkeypatch):
    out = SimpleNamespace(text="", isatty=lambda: True, flush=lambda: None, encoding="utf-8")
    out.write = lambda text: setattr(out, "text", out.text + text)
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with progress(lambda: console, 3, weight=30.0, estimate=100.0) as bar:
        bar.refresh()
        assert "0/3, 2 min left: starting frameworks" in out.text
        advance(bar, made("case", HOSTILE))
        task = bar.tasks[0]
        # Rich measures by its own clock: so is one given that goes on for a minute.
        clock = iter(range(60, 10_000, 60))
        monkeypatch.setattr(bar, "get_time", lambda: task.start_time + next(clock))
        task.get_time = bar.get_time
        advance(bar, made("a-case", "a_backend"), 9.0)
        bar.refresh()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.text).splitlines()
    # A third of the work in a minute or two: two more for each are left, though two of three runs are done.
    assert any(re.search(r"2/3, [2-4] min left: a-case x a_backend", line) for line in last)
    assert max(map(cell_len, last)) <= 81


def test_a_terminal_shows_the_verdict_and_what_is_looked_for_while_it_is_looked_for():
    out = SimpleNamespace(text="", isatty=lambda: True, flush=lambda: None, encoding="utf-8")
    out.write = lambda text: setattr(out, "text", out.text + text)
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with progress(lambda: console, 1) as bar:
        search(bar, "port diverges from the reference in case [a] at timestep 1, c.")
        look_for(bar, "two mistakes at once")
        bar.refresh()
        assert "port diverges from the reference in case [a] at timestep 1, c." in out.text
        assert "looking for the cause: two mistakes at once" in out.text
    with progress(lambda: console, 1, quiet=True) as bar:
        before = out.text
        search(bar, "port diverges.")
        look_for(bar, "one mistake")
        assert out.text == before


def test_progress_is_shown_on_a_terminal_only():
    for console in (Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True)):
        with progress(lambda console=console: console, 3) as bar:
            advance(bar, made("a", "b"))
        assert console.file.getvalue() == ""


@pytest.mark.parametrize(("option", "watched"), [("--no-color", True), ("--quiet", False)])
def test_a_run_in_a_terminal_shows_progress_and_is_quiet_if_asked(option, watched):
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    environment |= {"TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "lockstep", "run", "ones", "--backend", "numpy_loop", option]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        out = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the terminal's other end was closed
                break
            if not read:
                break
            out += read
    os.close(ours)
    assert process.returncode == 0
    assert (b" left" in out) == watched
    assert (b" agree" in out) == watched
    assert re.search(rb"\x1b\[(\d;)*3\d", out) is None


# --quiet


def test_quiet_says_nothing_where_all_agree_or_is_known_or_unsupported(lockstep, planted):
    planted("healthy", "refuses")
    for words in (("run", "ones", "--quiet"), ("run", "ones", "-q")):
        assert lockstep(*words) == (0, "", "")


def test_quiet_says_what_is_not_right_and_no_more(lockstep, planted, tmp_path):
    planted("healthy", "refuses", "resets_state", "raises")
    status, out, err = lockstep("run", "ones", "--quiet", "--json", tmp_path / "r.json", "--html", tmp_path / "page")
    assert status == 3
    assert out.startswith('raises, case "ones": failed')
    assert '\nresets_state diverges from the reference in case "ones"' in out
    assert "healthy" not in out
    assert "refuses" not in out
    assert "runs:" not in out
    assert err == ""
    assert len(json.loads((tmp_path / "r.json").read_text())["runs"]) == 4
    assert (tmp_path / "page" / "index.html").exists()


def test_quiet_says_why_nothing_could_be_compared(lockstep, planted):
    planted("refuses")
    status, out, _ = lockstep("run", "ones", "--quiet")
    assert status == 2
    assert out == "refuses, unsupported: no float32 here (ones)\nNothing could be compared.\n"


def test_quiet_records_and_compares(lockstep, planted, tmp_path):
    planted("healthy", "raises", "refuses")
    status, out, _ = lockstep("record", "ones", "--out", tmp_path, "--quiet")
    assert status == 3
    assert out.startswith('raises, case "ones": failed')
    assert "refuses" not in out
    assert "traces in" not in out
    assert lockstep("compare", tmp_path, "--quiet") == (0, "", "")
    assert lockstep("compare", tmp_path, "--against", tmp_path, "--quiet") == (0, "", "")


def test_quiet_checks(lockstep, tmp_path):
    (tmp_path / "lstm.py").write_text("def port(x, weights, h0, c0, lengths=None):\n    raise ValueError('no luck')\n")
    status, out, _ = lockstep("check", f"{tmp_path / 'lstm.py'}:port", "--case", "ones", "--quiet")
    assert status == 3
    assert out.startswith('port, case "ones": failed')
    assert "runs:" not in out


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_commands_and_options(shell):
    script = app.generate_completion(shell=shell)
    for word in ("anatomy", "--quiet", "--github", "--no-color" if shell != "fish" else "no-color"):
        assert word.removeprefix("--") in script


def test_names_of_cases_backends_and_findings_are_completed():
    assert {"ones", "probe"} <= complete_case(None).keys()
    assert complete_backend(None)["numpy_loop"]
    assert complete_finding(None)["flax-length-0"]


def test_completion_is_installed_for_a_shell(lockstep, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    status, out, _ = lockstep("--install-completion", "--shell", "bash")
    assert status == 0
    (script,) = tmp_path.glob(".local/share/**/lockstep")
    assert str(script) in out
    assert str(script) in (tmp_path / ".bashrc").read_text()
    status, out, _ = lockstep("--install-completion", "--shell", "zsh", "--output", tmp_path / "here")
    assert (tmp_path / "here").read_text().startswith("#compdef lockstep")
    assert not (tmp_path / ".zshrc").exists()
    status, _, err = lockstep("--install-completion", "--shell", "zsh", "--output", tmp_path / "here" / "there")
    assert status == 2
    assert "here" in err


def test_bash_completes_commands_and_the_names_of_backends(tmp_path):
    (tmp_path / "lockstep").write_text(f'#!/bin/sh\nexec {sys.executable} -m lockstep "$@"\n')
    (tmp_path / "lockstep").chmod(0o755)
    (tmp_path / "script").write_text(app.generate_completion(shell="bash"))
    code = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$(complete -p lockstep | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""

    def completed(*words):
        found = subprocess.run(
            ["bash", "-c", code, "bash", tmp_path / "script", "lockstep", *words],
            capture_output=True, text=True, check=True,
            env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        return found.stdout.split()

    assert completed("adeq") == ["adequacy"]
    assert completed("run", "one-") == ["one-timestep", "one-unit"]
    assert "numpy_loop" in completed("run", "--backend", "numpy")
