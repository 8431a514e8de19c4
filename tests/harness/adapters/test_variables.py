"""``lockstep variables``: exit statuses, one message for each mistake, what is shown and what is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from build_answers import PLANTED

from lockstep.harness.adapters.inventory import Inventory

ROOT = Path(__file__).parents[3]
PLAIN = PLANTED / "plain.py"


def tensorflow(test):
    """What starts TensorFlow does so in one worker of the suite, and in one process."""
    return pytest.mark.xdist_group("tensorflow")(pytest.mark.usefixtures("kept_processes")(test))


@pytest.fixture
def file(tmp_path):
    """Write a user's file."""

    def file(text, name="model.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return file


@tensorflow
def test_what_is_not_shared_exits_1_and_is_told_with_its_fix(lockstep, tmp_path):
    status, out, err = lockstep("variables", f"{PLANTED / 'tf1.py'}:foo", "--json", tmp_path / "v.json")
    assert (status, err) == (1, "")
    assert "foo/x_2" in out
    said = " ".join(out.split())
    assert "`foo/x` is a new variable in each iteration (`foo/x`, `foo/x_1` and `foo/x_2`)" in said
    assert "`tf.Variable` never reuses; use `tf.get_variable` under `reuse=tf.AUTO_REUSE`." in said
    found = msgspec.json.decode((tmp_path / "v.json").read_bytes(), type=Inventory, strict=True)
    assert (found.format, found.target, found.kind) == (1, "tf1.py:foo", "TF1 graph")


@tensorflow
def test_what_is_shared_exits_0(lockstep):
    status, out, _ = lockstep("variables", f"{PLANTED / 'tf1.py'}:static")
    assert status == 0
    assert "one variable, read in all 5 iterations: shared." in " ".join(out.split())


@tensorflow
def test_the_json_is_what_the_help_says(lockstep):
    status, out, err = lockstep("variables", f"{PLANTED / 'tf1.py'}:uniquified_scope", "--json", "-")
    assert status == 1
    assert "not shared" in err
    found = json.loads(out)
    assert list(found) == ["format", "target", "kind", "reads_known", "variables", "groups", "scopes", "notes"]
    assert found["variables"][1] == {
        "name": "dec_1/w",
        "shape": [3],
        "dtype": "float32",
        "place": found["groups"][0]["place"],
        "made_by": "tf.get_variable",
        "aliases": [],
        "trainable": True,
        "readers": [
            {
                "operation": "dec_1/add",
                "type": "AddV2",
                "iteration": 1,
                "within": None,
                "backward": False,
                "around": [],
            },
        ],
    }
    (group,) = found["groups"]
    assert list(group) == ["role", "variables", "shape", "verdict", "place", "made_by", "message", "fix"]
    assert (group["role"], group["verdict"]) == ("dec/w", "not shared")
    assert group["place"].startswith("tf1.py:")
    status, help_text, _ = lockstep("variables", "--help")
    for key in (*found, *found["variables"][0], *found["variables"][0]["readers"][0], *group, "scope", "like", "reads"):
        assert f'"{key}"' in help_text


@tensorflow
def test_a_function_that_imports_tensorflow_itself_is_called_in_a_graph_too(lockstep):
    for name in ("imports_late", "instance"):
        status, out, _ = lockstep("variables", f"{PLAIN}:{name}")
        assert status == 1
        assert "made at plain.py:" in " ".join(out.split())


@tensorflow
def test_what_is_printed_while_building_stays_out_of_the_way(lockstep):
    status, out, err = lockstep("variables", f"{PLAIN}:prints")
    assert status == 1
    assert "xxx" not in out + err
    assert "yyy" not in out + err


@tensorflow
def test_cells_of_tf1_need_no_setting_in_the_file(lockstep, file):
    text = (
        "import tensorflow as tf\n"
        "def build():\n"
        "    state = tf.ones((1, 3)), tf.ones((1, 3))\n"
        "    tf.compat.v1.nn.rnn_cell.LSTMCell(3)(tf.ones((1, 3)), state)\n"
    )
    status, out, err = lockstep("variables", file(text))
    assert (status, err) == (0, "")
    assert "lstm_cell/kernel" in out


@pytest.mark.xdist_group("torch")
def test_no_framework_is_imported_that_the_file_does_not_import(lockstep, file):
    text = (
        "import sys, torch\n"
        "def build():\n"
        "    loaded = {'tensorflow', 'keras', 'tf_keras', 'jax', 'flax'} & set(sys.modules)\n"
        "    assert not loaded, loaded\n"
        "    return torch.nn.Linear(2, 3)\n"
    )
    status, out, err = lockstep("variables", file(text))
    assert (status, err) == (0, "")
    assert "weight" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hangs", "plain.py:hangs: not done after 3 s, in plain.py, line "),
        ("exits", "it called sys.exit(enough) in plain.py, line "),
        ("ends", "its process ended with exit status 0 (does it call os._exit?)"),
        ("dies", "its process was killed by SIGSEGV, in plain.py, line "),
        ("interrupts", "it raised KeyboardInterrupt in plain.py, line "),
    ],
)
def test_a_build_that_fails_exits_3_with_one_message(lockstep, name, words):
    status, out, err = lockstep("variables", f"{PLAIN}:{name}", "--timeout", 3)
    assert status == 3
    assert words in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (
            "import no_such_framework\ndef build(): pass\n",
            3,
            "importing it needs no_such_framework in model.py, line 1",
        ),
        ("def build(): return 1 / 0\n", 3, "it raised ZeroDivisionError in model.py, line 1: division by zero"),
        ("1 / 0\ndef build(): pass\n", 3, "importing it raised ZeroDivisionError in model.py, line 1"),
        ("import os\nos._exit(4)\ndef build(): pass\n", 3, "while importing it: its process ended with exit status 4"),
        ("def build(:\n", 2, "model.py, line 1: not valid Python"),
        ("def biuld(): pass\n", 2, 'no function is called "build". Did you mean "biuld"?'),
        ("def build(x): pass\n", 2, "model.py:build: build needs arguments (x), and is called without any"),
        ("def build(): pass\n", 2, "model.py:build: it returned nothing, and built nothing that has variables."),
        ("build = {'a': 1}\n", 2, "model.py:build: it is a dict. Lockstep takes a function that builds a TF1 graph"),
        ("def build(): return 'w'\n", 2, "it returned a str, and built nothing that has variables."),
        ("from collections import OrderedDict as build\n", 2, "it returned an OrderedDict of collections, and built"),
    ],
)
def test_a_wrong_file_is_told_in_one_message(lockstep, file, text, status, words):
    found, out, err = lockstep("variables", file(text))
    assert found == status
    assert words in err
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("{folder}/modle.py:build", [], "modle.py: no such file. Did you mean {folder}/model.py?"),
        ("{folder}/model.ipynb:build", [], "Save the notebook's function in a .py file."),
        ("model", [], '"model" is not a target: write FILE.py:FUNCTION'),
        ("{folder}/model.py", ["--timeout", "0"], "--timeout 0: must be a number above 0"),
        ("{folder}/model.py", ["--json", "{folder}/model.py/v.json"], "cannot be written"),
        ("{folder}/model.py", ["--nope"], "--nope"),
    ],
)
def test_a_wrong_request_exits_2_with_one_message(lockstep, file, target, options, words):
    folder = file("def build(): pass\n").parent
    status, out, err = lockstep(
        "variables", target.format(folder=folder), *(option.format(folder=folder) for option in options)
    )
    assert status == 2
    assert words.format(folder=folder) in err.replace("\n", " ")
    assert out == ""


def test_an_interruption_exits_130_and_leaves_no_process(tmp_path):
    (tmp_path / "model.py").write_text(
        f"import os, time\ndef build():\n    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-m", "lockstep", "variables", str(tmp_path / "model.py")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 60
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < until:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "lockstep: interrupted.\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_command_is_in_the_help(lockstep):
    _, out, _ = lockstep("--help")
    assert "variables" in out
    assert "List all variables" in out


@tensorflow
def test_the_tutorial_shows_what_is_said_of_the_questions_decoder():
    command = "lockstep variables cases/ports/decoder_as_asked.py:build"
    done = subprocess.run(
        [sys.executable, "-m", "lockstep", *command.split()[1:]],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    shown = "\n".join(line.rstrip() for line in [f"$ {command}", *done.stdout.splitlines()])
    assert shown in (ROOT / "docs" / "tutorial.md").read_text()
