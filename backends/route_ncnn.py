"""ncnn, in float32; which axis is the batch it is told as the script says that pnnx writes beside its files.

Of an output for which that script names none, it is the axis with which the module's own shape comes out. Source:
ncnn documentation, Python API.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import re
from pathlib import Path

import ncnn
import numpy as np
import torch

from lockstep.backends.torch_tensors import example_of
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Array, Arrays

REQUIRES = ("ncnn", "torch")
INSTALL = "lockstep-rnn[ncnn]"
RUNS = ("ncnn",)

_NO_BATCH = 233  # of ncnn.Mat
# "ncnn.Mat(in0.numpy(), batch_index=0)" and "out0.numpy(batch_index=0)"
_AXES = re.compile(r"\b((?:in|out)\d+)\.numpy\((?:\), )?batch_index=(\d+)\)")


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a folder of pnnx."""
    net = ncnn.Net()
    net.opt.num_threads = THREADS
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    for status in (net.load_param(str(path / "model.ncnn.param")), net.load_model(str(path / "model.ncnn.bin"))):
        if status:
            raise RuntimeError(f"ncnn cannot load what pnnx wrote: status {status}")
    script = (path / "model_ncnn.py").read_text()
    axes = {name: int(axis) for name, axis in _AXES.findall(script)}
    with torch.no_grad():
        shapes = [tuple(output.shape) for output in subject.value(*example_of(subject))]

    def run(inputs: Arrays) -> Arrays:
        extractor = net.create_extractor()
        for k, name in enumerate(subject.input_names):
            array = _fed(inputs[name])
            # A Mat of an array is a view of it, and knows nothing of how long that lives.
            extractor.input(f"in{k}", ncnn.Mat(array, batch_index=axes.get(f"in{k}", _NO_BATCH)).clone())
        return subject.named([_output(extractor, f"out{k}", axes, shape) for k, shape in enumerate(shapes)])

    return run


def _fed(array: Array) -> Array:
    """An input as ncnn takes it: pnnx replaces integers of 64 bits by those of 32."""
    return np.ascontiguousarray(array, np.int32 if array.dtype == np.int64 else None)


def _output(extractor: ncnn.Extractor, name: str, axes: dict[str, int], shape: tuple[int, ...]) -> Array:
    status, mat = extractor.extract(name)
    if status:
        raise RuntimeError(f"ncnn's Extractor.extract({name!r}) returned {status}")
    told = axes.get(name, _NO_BATCH)
    candidates = (told,) if told != _NO_BATCH else (*range(len(shape)), _NO_BATCH)
    arrays = [mat.numpy(batch_index=axis).copy() for axis in candidates]
    return next((array for array in arrays if array.shape == shape), arrays[-1])
