"""A traced ``torch.nn.LSTM`` through pnnx into ncnn, in float32 or with float16 where ncnn has it by default."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import subprocess
import tempfile
import warnings
from functools import partial
from pathlib import Path

import ncnn
import numpy as np
import pnnx
import torch

from lockstep.backends import refusals, torch_runtime
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

BATCH_AXIS = 1


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    refused = torch_runtime.unsupported(
        case,
        dtypes="ncnn.Mat takes float32",
        lengths="pnnx knows no operator for pack_padded_sequence, and ncnn no lengths",
    )
    return refusals.of({"ncnn.Mat has no batch of no sequence": case.run.batch == 0}, first=refused)


def converted(problem: Problem, *, fp16: bool) -> torch_runtime.Call:
    """Convert and load the LSTM of ``problem``."""
    module, inputs = torch_runtime.network_of(problem)
    net = ncnn.Net()
    net.opt.num_threads = THREADS
    if not fp16:
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        traced = Path(folder) / "lstm.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what tracing makes constant: the shapes
            torch.jit.save(torch.jit.trace(module, inputs), traced)
        shapes = ",".join(f"{list(tensor.shape)}f32".replace(" ", "") for tensor in inputs)
        command = [pnnx.EXEC_PATH, str(traced), f"inputshape={shapes}", f"fp16={int(fp16)}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 (the package's own program)
        net.load_param(str(traced.with_name("lstm.ncnn.param")))
        net.load_model(str(traced.with_name("lstm.ncnn.bin")))
    return partial(_call, net)


def _call(net: ncnn.Net, *inputs: Array) -> list[Array]:
    extractor = net.create_extractor()
    for k, array in enumerate(inputs):
        # A Mat of an array is a view of it, and knows nothing of how long that lives.
        extractor.input(f"in{k}", ncnn.Mat(np.ascontiguousarray(array), batch_index=BATCH_AXIS).clone())
    return [_extracted(extractor, f"out{k}") for k in range(3)]


def _extracted(extractor: ncnn.Extractor, name: str) -> Array:
    status, mat = extractor.extract(name)
    if status:
        raise RuntimeError(f"ncnn's Extractor.extract({name!r}) returned {status}")
    return mat.numpy(batch_index=BATCH_AXIS).copy()
