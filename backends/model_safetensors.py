"""A torch state dict in a .safetensors file: the weights of one ``nn.LSTM`` or ``nn.LSTMCell``, among perhaps more.

It holds weights and no settings: ``nn.LSTM``'s are taken, which has none beside its sizes. Reading it takes no
framework; ``torch_lstm`` runs it. Source: PyTorch documentation, ``torch.nn.LSTM``, Variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.backends.given_model import given_model, refused_by_runner, run_by_runner
from lockstep.backends.refusals import joined
from lockstep.backends.torch_state_dict import read_state_dict
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.array_file import load_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.errors import ConvertError
from lockstep.harness.weights.model_file import ModelError, ModelFile, StoredModel, unfit_reason

DIALECT = "torch"


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the one LSTM that a state dict holds, or that whose names begin with the prefix.

    Raises:
        ModelError: If there is none, or there are several.
    """
    try:
        arrays, metadata = load_safetensors(Path(file.path), ConvertError)
    except ConvertError as error:
        raise ModelError(str(error).removeprefix(f"{file.path}: ")) from error
    return read_state_dict(arrays, file.prefix, metadata=metadata)


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run ``torch_lstm`` on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)
