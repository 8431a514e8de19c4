"""How tests that run every backend are grouped, and which of them the suite runs.

The suite runs them for the main job's; for the others `nox -s contract` does, where all are installed.
"""

from __future__ import annotations

import pytest

from lockstep.harness.adapters.backend import BackendInfo

COMPILED = {"torch_compile", "torch_onnx", "tf_function_xla", "keras_jax"}  # some seconds for each shape
MAIN = {"numpy_loop", "tf_loop", "tf_static_rnn", "tf_dynamic_rnn", "torch_lstm", "jax_scan"}


def marks_of(backend: BackendInfo, *, everywhere: bool = False) -> list[pytest.MarkDecorator]:
    """One group of tests for each framework, so that a process imports few of them; none where it is not installed."""
    marks = [pytest.mark.xdist_group("+".join(map(str, backend.worker)))]
    missing = backend.missing()
    if missing:
        marks.append(pytest.mark.skip(reason=missing))
    if backend.model == "lstm" and backend.name not in MAIN and (not everywhere or backend.name in COMPILED):
        marks.append(pytest.mark.slow)
    return marks
