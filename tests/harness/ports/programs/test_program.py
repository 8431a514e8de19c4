"""Programs: whatever one does costs only the call at which it does it, and the message helps."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from lstm_cases import make_case

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.programs.command import parse_command
from lockstep.harness.ports.programs.program import Program
from lockstep.harness.ports.programs.running import readable

ROOT = Path(__file__).parents[4]
PLANTED = ROOT / "tests" / "planted_programs"
PROBLEM = problem_of(make_case(timesteps=2))
# Without what is installed Python starts in a tenth of the time.
MISBEHAVES = f"{shlex.quote(sys.executable)} -I -S {PLANTED / 'misbehaves.py'}"


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask a misbehaving program once or more often, in an empty folder; give the outcomes."""
    monkeypatch.chdir(tmp_path)

    def ask(word, *, serves=False, times=1, timeout=30.0):
        places = "" if serves else " {problem} {answer}"
        with Program(parse_command(f"{MISBEHAVES} {word}{places}", serves=serves), timeout=timeout) as program:
            outcomes = program.call([PROBLEM] * times)
        assert not program._folder.exists()
        assert len(outcomes) == times
        return outcomes[0] if times == 1 else outcomes

    return ask


def is_alive(text):
    """Whether a process runs whose command has this text."""
    commands = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return any(text in line and not line.startswith("Z") for line in commands.splitlines())


CALLED = {
    "segfaults": ("crashed", "its process was killed by SIGSEGV"),
    "segfaults-in-a-shell": ("failed", "exit status 139, as of a shell whose program was killed by SIGSEGV"),
    "dies-of-a-signal-without-a-name": ("crashed", "its process was killed by signal 37"),
    "exits": ("failed", "it ended with exit status 3: no such gate"),
    "refuses": ("unsupported", "only on Sundays"),
    "garbage": ("failed", "its answer is not a readable .safetensors file: "),
    "empty": ("failed", "its answer is not a readable .safetensors file: "),
    "folder": ("failed", "it ended with exit status 0 and wrote no answer: there is no file at {answer}"),
    "nothing": ("failed", "it ended with exit status 0 and wrote no answer: there is no file at {answer}"),
    "exchanges": ("failed", "it wrote to the file of the problem instead: are the two paths exchanged?"),
    "astray": ("failed", "there is no file at {answer}; out.safetensors was written"),
    "without-ending": ("failed", "there is no file at {answer}; answer-1 was written"),
    "leaves-children": ("failed", "it ended with exit status 1"),
}


@pytest.mark.parametrize("word", CALLED)
def test_what_a_program_does_is_the_answer_of_its_call(ask, word):
    outcome = ask(word)
    status, message = CALLED[word]
    assert outcome.status == status
    assert message in outcome.message
    assert outcome.trace is None
    assert outcome.seconds["run"] < 30
    assert outcome.raised == (word in {"exits", "leaves-children"})


SERVED = {
    "segfaults": ("crashed", "its process was killed by SIGSEGV before it answered"),
    "ends": ("crashed", "its process ended with exit status 0 before it answered"),
    "chatters": ("crashed", 'xxxx" where "ok", "error TEXT" or "unsupported TEXT" is expected'),
    "banner": ("crashed", 'it wrote "ready" where "ok", "error TEXT" or "unsupported TEXT" is expected'),
    "errs": ("failed", "it answered error: no such gate"),
    "errs-without-a-word": ("failed", "it answered error without a reason"),
    "refuses": ("unsupported", "only on Sundays"),
    "flatters": ("failed", "it says ok and wrote no answer: there is no file at the second path of its line"),
    "closes": ("crashed", "it closed its standard output before it answered"),
}


@pytest.mark.parametrize("word", SERVED)
def test_what_a_program_that_serves_does_is_the_answer_of_its_call(ask, word):
    outcome = ask(word, serves=True)
    status, message = SERVED[word]
    # A banner may come before the first question, or after it.
    assert message in outcome.message.replace(" (before it was asked)", "")
    assert outcome.status == status
    assert outcome.trace is None
    assert len(outcome.message) < 1000


def test_the_last_lines_that_were_printed_are_kept(ask):
    assert ask("exits").stderr == "step 1\nno such gate\n".strip()
    assert ask("nothing").stderr == "all is well"
    assert ask("ends", serves=True).stderr == "out of luck"


def test_what_is_no_text_is_told_and_not_shown():
    weights = np.linspace(-1, 1, 300, dtype=np.float32).tobytes().replace(b"\n", b"\0").replace(b"\r", b"\0")
    told = readable(b"reading\r\n" + weights + b"\n\x1b[31mno such gate\x1b[0m\ndone\n")
    first, middle, colored, last = told.split("\n")
    assert (first, last) == ("reading", "done")
    assert re.fullmatch(r"\(\d+ characters that are no text\)", middle)
    assert "no such gate" in colored
    assert "\x1b" not in colored
    assert len(readable(b"x" * 9000)) < 600


@pytest.mark.skipif(shutil.which("cat") is None, reason="there is no cat")
def test_a_program_that_prints_its_problem_is_not_shown_with_it():
    with Program(parse_command("cat {problem} {answer}", serves=False)) as program:
        (outcome,) = program.call([PROBLEM])
    assert "characters that are no text" in f"{outcome.message} {outcome.stderr}"
    assert "\ufffd" not in f"{outcome.message} {outcome.stderr}"


def test_megabytes_of_output_are_read_away(ask):
    outcome = ask("prints-megabytes")
    assert outcome.message == "it ended with exit status 1: the last line"
    assert len(outcome.stderr) < 5000
    assert outcome.stderr.endswith("\nthe last line")


def test_what_takes_too_long_is_ended_with_its_children(ask):
    started = time.monotonic()
    outcome = ask("hangs", timeout=0.3)
    assert (outcome.status, outcome.message, outcome.stderr) == ("timeout", "not done after 0.3 s", "waiting")
    assert outcome.seconds["run"] >= 0.3
    assert time.monotonic() - started < 10
    text, until = "import time; time.sleep(60)", time.monotonic() + 30
    while is_alive(text) and time.monotonic() < until:  # another process of these tests may have just begun one
        time.sleep(0.1)
    assert not is_alive(text)


def test_what_serves_and_hangs_is_ended(ask):
    assert ask("never-reads", serves=True, timeout=0.3).message == 'no line "ok" after 0.3 s'
    assert not is_alive(" never-reads")


def test_a_line_that_was_not_flushed_is_guessed_from_the_answer(ask):
    outcome = ask("forgets-to-flush", serves=True, timeout=0.5)
    assert outcome.status == "timeout"
    assert outcome.message == 'no line "ok" after 0.5 s, though its answer is there: is the line flushed?'


def test_children_that_are_left_are_ended_and_told_of(ask):
    outcome = ask("leaves-children")
    assert outcome.notes == ("it left processes behind, which were ended",)
    text, until = "import time; time.sleep(60)", time.monotonic() + 30
    while is_alive(text) and time.monotonic() < until:  # another process of these tests may have just begun one
        time.sleep(0.1)
    assert not is_alive(text)


def test_after_three_deaths_the_rest_are_answered_alike(ask):
    started = time.monotonic()
    outcomes = ask("segfaults", times=500)
    assert {outcome.message for outcome in outcomes} == {"its process was killed by SIGSEGV"}
    assert time.monotonic() - started < 20


def test_a_program_that_serves_is_started_anew_after_a_death(ask):
    first, second = ask("ends", serves=True, times=2)
    assert first.status == second.status == "crashed"


def test_what_the_system_cannot_start_is_told_once(tmp_path):
    file = tmp_path / "lstm"
    file.write_bytes(b"\x7fELF, as they say")
    file.chmod(0o755)
    with Program(parse_command(f"{file} {{problem}} {{answer}}", serves=False)) as program:
        outcomes = program.call([PROBLEM] * 5)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 5
    assert "it could not be asked: [Errno 8] Exec format error" in outcomes[0].message


FORMS = {
    "templates/port_numpy_plain.py": ["tiny", "lengths", "float64"],
    "templates/port_numpy_network.py": ["bidirectional", "bidirectional-layers-lengths"],
    "templates/port_numpy_gradients.py": ["gradients"],
    "templates/port_numpy_decoder.py": ["attention-probe", "attention-window"],
}


@pytest.mark.parametrize("port", FORMS)
def test_each_form_of_case_is_asked_by_files_as_ports_are_by_arguments(port):
    cases = [found_case.case for found_case in find_cases(FORMS[port])]
    command = f"{shlex.quote(sys.executable)} {PLANTED / 'by_port.py'} {ROOT / 'cases' / port}"
    with Program(parse_command(command, serves=True)) as program:
        runs = check(program, cases)
    assert [(run.status, run.message) for run in runs] == [("agree", None)] * len(cases)
    assert {run.backend for run in runs} == {"by_port"}


def test_what_a_program_that_serves_keeps_from_one_problem_to_the_next_is_found(tmp_path):
    text = (ROOT / "cases" / "templates" / "port_numpy_plain.py").read_text()
    port = tmp_path / "remembers.py"
    port.write_text(f"""{text.replace("def port(", "def run(")}
kept = []


def port(x, weights, h0, c0, lengths=None):
    kept.append(weights)
    return run(x, kept[0], h0, c0, lengths)
""")
    command = f"{shlex.quote(sys.executable)} {PLANTED / 'by_port.py'} {port}"
    with Program(parse_command(command, serves=True)) as program:
        (run,) = check(program, [find_cases(["tiny"])[0].case])
    assert run.status == "diverge"
    assert "W, R of the first call are used in the place of what the call was given." in run.diagnosis[0].message


def test_a_call_for_each_problem_gives_what_serving_gives():
    port = ROOT / "cases" / "templates" / "port_numpy_plain.py"
    command = f"{shlex.quote(sys.executable)} {PLANTED / 'by_port.py'} {port}"
    given = {}
    for serves in (False, True):
        with Program(parse_command(command + ("" if serves else " {problem} {answer}"), serves=serves)) as program:
            (outcome,) = program.call([PROBLEM])
        given[serves] = {name: array.tobytes() for name, array in outcome.trace.tensors().items()}
    assert given[False] == given[True]
    assert given[False].keys() == {"h", "c"}


@pytest.mark.skipif(os.name == "nt", reason="groups of processes are POSIX'")
def test_an_interrupted_check_leaves_no_program_behind(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(f"""
import _thread, threading
from lockstep.harness.ports.programs.command import parse_command
from lockstep.harness.ports.programs.program import Program
from lockstep.harness.ports.programs.running import readable
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import find_cases

program = Program(parse_command({MISBEHAVES + " hangs {problem} {answer}"!r}, serves=False))
threading.Timer(1.0, _thread.interrupt_main).start()
with program:
    program.call([problem_of(find_cases(["tiny"])[0].case)])
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert "KeyboardInterrupt" in done.stderr
    text, until = "import time; time.sleep(60)", time.monotonic() + 30
    while is_alive(text) and time.monotonic() < until:  # another process of these tests may have just begun one
        time.sleep(0.1)
    assert not is_alive(text)
