"""What the backends of TensorFlow's block LSTM kernels have in common: which cases they run.

The kernels were ``tf.contrib.rnn``'s LSTMBlockCell and LSTMBlockFusedCell; in TensorFlow 2 they are raw ops.
"""

from __future__ import annotations

from lockstep.backends import refusals
from lockstep.harness.cases.case import Case


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        f"TensorFlow's block LSTM kernels take half and float32, not {case.run.dtype}": (
            case.run.dtype not in {"float16", "float32"}
        ),
        "TensorFlow's block LSTM kernels have no projection": bool(lstm.proj_size),
        "TensorFlow's block LSTM kernels do not couple the forget gate to the input gate": lstm.input_forget,
        "TensorFlow's block LSTM kernels have sigmoid gates, and tanh for the candidate and the cell state": (
            not refusals.standard_activations(lstm)
        ),
    }
    return refusals.of(reasons)


def weights_and_settings(weights: dict, clip: float | None, zeros) -> tuple[dict, dict]:
    """The ops' weights, peepholes of zeros where there are none, and their attributes."""
    none = dict.fromkeys(("wci", "wcf", "wco"), zeros)
    # Not above zero means no clipping; for the older ops the default is 3.
    return none | weights, {"use_peephole": "wci" in weights, "cell_clip": -1.0 if clip is None else clip}
