"""An ``nn.Module`` as an ONNX model, by either of PyTorch's exporters, with names of its inputs and outputs.

Source: PyTorch documentation, ``torch.onnx.export``.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import torch


def onnx_bytes(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], outputs: list[str], *, dynamo: bool
) -> bytes:
    """The ONNX model that one of the exporters makes of a module, with names of its inputs and outputs."""
    # The exporters warn of whatever they do not know, such as torchvision's operators.
    with warnings.catch_warnings(), _silenced("torch.onnx"):
        warnings.simplefilter("ignore")
        if dynamo:
            program: Any = torch.onnx.export(
                module, inputs, dynamo=True, input_names=names, output_names=outputs, verbose=False
            )
            return program.model_proto.SerializeToString()
        file = io.BytesIO()
        torch.onnx.export(module, inputs, file, dynamo=False, input_names=names, output_names=outputs)  # type: ignore[arg-type]
        return file.getvalue()


class _silenced:  # noqa: N801 (it is used as a function)
    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.before = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.before)
