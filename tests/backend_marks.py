"""How tests that run every backend are grouped, and which of them the suite runs.

The suite and `nox -s slow` run them for the main job's; for the others `nox -s contract` does, where all are installed.
"""

from __future__ import annotations

import shutil
from functools import cache

import pytest

from lockstep.harness.adapters.backend import BackendInfo

# Some seconds for each shape, or to import what another framework's backend has not imported.
COMPILED = {
    "torch_compile", "torch_onnx", "torch_aoti", "tf_function_xla",
    "keras_jax", "keras_torch", "keras_tf", "tf_block_cell", "tf_block_fused", "jax_eager",
}  # fmt: skip
COMPILING = {"tensorflow", "jax"}
MAIN = {"numpy_loop", "tf_loop", "tf_static_rnn", "tf_dynamic_rnn", "torch_lstm", "jax_scan"}


@cache  # files ask of each backend at each of their cases
def cannot_run(backend: BackendInfo) -> str | None:
    """What a backend needs and this machine has not."""
    if "tinygrad" in backend.requires and shutil.which("clang") is None:
        return "tinygrad's CPU device needs clang, which is not on the PATH"
    return backend.missing()


def marks_of(backend: BackendInfo, *, everywhere: bool = False, compiling: bool = True) -> list[pytest.MarkDecorator]:
    """One group of tests for each framework, so that a process imports few of them; none where it is not installed.

    Args:
        backend: Whose tests are marked.
        everywhere: Whether the suite runs this test for other backends than the main job's, too.
        compiling: Whether it runs it for those that compile every network anew; `nox -s diff` runs the shipped cases.
    """
    marks = [pytest.mark.xdist_group("+".join(map(str, backend.worker)))]
    missing = cannot_run(backend)
    if missing:
        marks.append(pytest.mark.skip(reason=missing))
    of_others = backend.model == "lstm" and backend.name not in MAIN
    if of_others:
        marks.append(pytest.mark.contract)
    left_out = of_others and (not everywhere or backend.name in COMPILED)
    if left_out or (not compiling and COMPILING & set(backend.requires)):
        marks.append(pytest.mark.slow)
    return marks
