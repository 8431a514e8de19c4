"""The key of a trace: one digest of all that it depends on, or none where something of that cannot be known.

The numbers of the problem and what is asked for; the source text of the backend and of what it imports of ours; the
versions of frameworks and of all that they require; Python, the processor, and the variables that frameworks read.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from lockstep.harness.adapters import backend_process
from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.cases.case import VALUE_KEYS, Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.jobs.cache.installed import versions_of
from lockstep.harness.jobs.cache.sources import closure_of

# How the variables begin by which frameworks, and what they compute with, are set.
_SETTINGS = (
    "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "VECLIB_", "NUMEXPR_", "NPROC", "DNNL_", "ONEDNN_", "NPY_",
    "XLA_", "TF_", "JAX_", "KERAS_", "FLAX_", "TORCH", "PYTORCH_", "ATEN_", "ORT_", "OPENVINO_", "TINYGRAD_", "FLAGS_",
    "MLX_", "CUDA_", "NVIDIA_", "HIP_", "ROCM_",
)  # fmt: skip
# Single variables of tinygrad.
_NAMES = ("CPU", "CLANG", "LLVM", "DEV", "BEAM", "NOOPT", "DEFAULT_FLOAT", "JIT")
_PROCESSOR = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")


def key_of(backend: BackendInfo, problem: AnyProblem) -> str | None:
    """The key of the trace that a backend gives for a problem.

    None if it depends on what cannot be known: of a model's file, and where a package has no version.
    """
    if not backend.listed:
        return None
    closure = closure_of((backend.module, backend_process.__name__))
    versions = versions_of(closure.packages | set(backend.requires))
    if versions is None:
        return None
    environment = {**_variables(), **dict(backend.environment)}
    facts = [closure.digest, versions, environment, _machine(), problem.digest, _asked(problem.case)]
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _asked(case: Case) -> list[Any]:
    """What a case asks for, but for where its numbers come from, its name and what is allowed."""
    run: dict[str, Any] = msgspec.to_builtins(case.run)
    for key in (*VALUE_KEYS, "seed"):
        run.pop(key, None)
    return [case.lstm, case.attention_decoder, run]


def _variables() -> dict[str, str]:
    """The variables of the environment that frameworks read, as far as their names tell."""
    return {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS) or name in _NAMES}


@cache
def _machine() -> list[str | None]:
    """Python, and what it runs on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text("utf-8", "replace").splitlines() if cpu.is_file() else []
    processor = sorted({line for line in lines if line.startswith(_PROCESSOR)})
    return [sys.version, platform.platform(), platform.machine(), platform.processor(), *processor]
