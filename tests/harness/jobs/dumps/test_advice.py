"""What users are told to type, three lines for each framework, makes a dump that agrees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from model_reading import needs

from lockstep.harness.jobs.dumps.advice import CODE
from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, explain_dump

BEFORE = {
    "PyTorch": "import numpy as np, torch\nlstm, x = torch.nn.LSTM(3, 4), torch.randn(5, 2, 3)",
    "Keras": "import numpy as np, keras\n"
    "layer, x = keras.layers.LSTM(4, return_sequences=True), np.random.normal(size=(2, 5, 3)).astype('float32')",
    "TF1": "import numpy as np, tensorflow.compat.v1 as tf\ntf.disable_eager_execution()\n"
    "cell, x = tf.nn.rnn_cell.BasicLSTMCell(4), tf.placeholder(tf.float32, (2, 5, 3))\n"
    "feed, session = {x: np.random.normal(size=(2, 5, 3))}, tf.Session()",
}
FRAMEWORK = {"PyTorch": "torch", "Keras": "keras", "TF1": "tensorflow"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(FRAMEWORK[name])) for name in CODE])
def test_the_code_that_is_advised_makes_a_dump_that_agrees(name, tmp_path):
    lines = CODE[name].splitlines()
    if name == "TF1":  # a session begins with its variables set
        lines.insert(1, "session.run(tf.global_variables_initializer())")
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1" if name == "TF1" else "0", "TF_CPP_MIN_LOG_LEVEL": "2"}
    code = "\n".join([BEFORE[name], *lines])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    (run,) = explain_dump(tmp_path / "dump.npz", DumpRequest()).runs
    assert run.status == "agree"
    assert "h" in run.tensors
