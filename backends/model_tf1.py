"""A TF1 checkpoint, by its prefix: kernel and bias of one ``BasicLSTMCell`` or ``LSTMCell``, and peepholes, projection.

Optimisers' slots are left out. A checkpoint holds no settings: ``forget_bias``, which the cells add at run time, is
taken from the case, 1 as by default; the activation is tanh, and there is no clip. ``tf_dynamic_rnn`` runs it. Sources:
TensorFlow documentation, ``tf.train.load_checkpoint``; tf_keras, ``src/layers/rnn/legacy_cells.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lockstep.backends.given_model import given_model, refused_by_runner, run_by_runner
from lockstep.backends.refusals import joined
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    canonical,
    listed,
    names_under,
    network,
    too_many,
    unfit_reason,
)

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"
RUNNER = "tf_dynamic_rnn"

GATE_ORDER = DIALECTS["tf1"].gates
PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the one cell that a checkpoint holds, or that whose name begins with the prefix.

    Raises:
        ModelError: If there is none, or there are several.
    """
    try:
        reader = tf.train.load_checkpoint(file.path)
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ModelError(f"it cannot be read as a checkpoint: {first_line(error)}.") from error
    names = names_under(_cells(shapes), file.prefix)
    if len(names) > 1:
        raise too_many(names)
    if not names:
        raise ModelError(_no_lstm(shapes))
    scope = names[0]

    def array(name: str) -> np.ndarray:
        return np.asarray(reader.get_tensor(scope + name))

    kernel, projection = array("kernel"), f"{scope}projection/kernel" in shapes
    P = array("projection/kernel").T if projection else None
    width = len(array("bias")) // 4 if P is None else len(P)
    peepholes = [scope + name for name in PEEPHOLES if scope + name in shapes]
    if peepholes and len(peepholes) < len(PEEPHOLES):
        raise ModelError(f"of the peepholes {', '.join(PEEPHOLES)} it holds only {', '.join(peepholes)}.")
    if kernel.ndim != 2 or len(kernel) <= width:  # noqa: PLR2004
        raise ModelError(
            f"shapes do not fit together: {scope}kernel {kernel.shape}, {scope}bias {array('bias').shape}. A cell of H "
            "units has a kernel (I + H, 4H) and a bias (4H,)."
        )
    lane = LaneArrays(
        kernel[:-width].T, kernel[-width:].T, (array("bias"),), P,
        np.stack([array(name) for name in PEEPHOLES]) if peepholes else None,
        names=(f"{scope}kernel's part for x, transposed,", f"{scope}kernel's part for h, transposed,", f"{scope}bias"),
    )  # fmt: skip
    weights, _ = canonical(lane, GATE_ORDER, file.forget_bias)
    lstm, stack = network([[weights]], "forward", [scope], bias=True, forget_bias=file.forget_bias)
    note = (
        f"a checkpoint holds no settings: taken are forget_bias = {file.forget_bias:g}, which the cell adds at run "
        "time (its default is 1; a named case with another has that taken), tanh, and no clip"
    )
    what = f"{scope.removesuffix('/') or 'the cell'} of a TF1 checkpoint, read by tensorflow {tf.__version__}"
    return StoredModel(lstm, stack, what, gates=GATE_ORDER, notes=(note,), runner=RUNNER)


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run ``tf_dynamic_rnn`` on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)


def _cells(shapes: dict[str, list[int]]) -> list[str]:
    """The scopes that hold a kernel (I + H, 4H) and a bias (4H,); where some are called so, LSTMs alone.

    A dense layer may have such shapes too.
    """
    scopes = [name.removesuffix("kernel") for name in shapes if name == "kernel" or name.endswith("/kernel")]
    fitting = sorted(
        scope for scope in scopes
        if f"{scope}bias" in shapes and _may_be_lstm(shapes[f"{scope}kernel"], shapes[f"{scope}bias"], shapes, scope)
    )  # fmt: skip
    named = [scope for scope in fitting if "lstm" in scope.lower()]
    return named or fitting


def _may_be_lstm(kernel: list[int], bias: list[int], shapes: dict[str, list[int]], scope: str) -> bool:
    if scope.endswith(("gates/", "candidate/", "projection/")):
        return False  # a GRU's, and a part of an LSTM
    if "lstm" in scope.lower():
        return True  # what does not fit is told
    width = shapes.get(f"{scope}projection/kernel", [0, bias[0] // 4 if bias else 0])[1]
    two, is_vector = len(kernel) == 2, len(bias) == 1  # noqa: PLR2004
    return two and is_vector and bias[0] > 0 and bias[0] % 4 == 0 and kernel[1] == bias[0] and kernel[0] > width


def _no_lstm(shapes: dict[str, list[int]]) -> str:
    names = sorted(name for name in shapes if not name.startswith("_CHECKPOINTABLE"))
    if any(name.endswith("gates/kernel") for name in names):
        first = next(name for name in names if name.endswith("gates/kernel"))
        return (
            f"{first.removesuffix('/gates/kernel')} is a GRU: it has gates and a candidate of their own where an LSTM "
            "has one kernel of four gates, and cannot be compared with one."
        )
    if any(".ATTRIBUTES" in name for name in names):
        return (
            "it is a checkpoint of TF2's objects, and that of a TF1 cell is asked for: load it into its model, and "
            "save that as .keras."
        )
    if any("opaque_kernel" in name for name in names):
        return "it holds cuDNN's opaque weights: save the model by CudnnLSTMSaveable, as its canonical form."
    return f"there is no LSTM in it: no kernel (I + H, 4H) with a bias (4H,). It holds {listed(names) or 'nothing'}."
