"""A session of onnxruntime on its CPU provider, and what its LSTM does not compute there.

Source: onnxruntime documentation, ``InferenceSession``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import onnxruntime

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.cases.case import Case

SILENT = 3  # errors and what is worse


def narrow_dtypes(case: Case) -> dict[str, bool]:
    """What is refused of a case's dtype."""
    return {
        "onnxruntime's CPU provider says: LSTM operator does not support double yet": case.run.dtype == "float64",
        "onnxruntime's CPU provider has no implementation of LSTM in bfloat16": case.run.dtype == "bfloat16",
    }


def session_of(model: bytes | str, *, silent: bool = False) -> onnxruntime.InferenceSession:
    """A session that runs a model, serialised or in the file named, perhaps without its warnings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    if silent:
        options.log_severity_level = SILENT
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
