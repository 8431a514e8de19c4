"""A user's own ``nn.LSTM``: what a function in a Python file returns, its weights read and the module run as it is.

Taken are an ``nn.LSTM`` and an ``nn.Module`` that has one; it is put into evaluation mode, since a dropout between
layers would make every run another. The function is called after ``torch.manual_seed(0)``. Source: PyTorch
documentation, ``torch.nn.LSTM``.
"""

from __future__ import annotations

from typing import Any

import torch
from msgspec.structs import replace

from lockstep.backends import torch_lstm
from lockstep.backends.given_model import given_model, read_lanes
from lockstep.backends.refusals import joined
from lockstep.harness.adapters.model_process import value_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    gru_refusal,
    halves_of,
    names_under,
    network,
    too_many,
    unfit_reason,
)

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"

GATE_ORDER = DIALECTS["torch"].gates
TAKEN = "Lockstep takes an nn.LSTM, an nn.Module that has one, or a function that returns one of them"


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the weights of the LSTM that ``value`` is or has.

    Raises:
        ModelError: If there is none, or there are several.
    """
    name, lstm = _lstm_in(value, file.prefix)
    notes = [f"dropout = {lstm.dropout:g} between its layers is off: it runs in evaluation mode"] * bool(lstm.dropout)
    if value is not lstm:
        notes.append(f"it is module {name} of a {type(value).__name__}, whose other parts are run with it as a whole")
    lstm.eval()
    direction, directions = ("bidirectional", (False, True)) if lstm.bidirectional else ("forward", (False,))
    layers = [[Lane(layer, reverse) for reverse in directions] for layer in range(lstm.num_layers)]
    rows, biases = read_lanes([[_arrays(lstm, lane) for lane in layer] for layer in layers], GATE_ORDER)
    names = [f"layer {layer}" for layer in range(lstm.num_layers)]
    case_lstm, stack = network(rows, direction, names, bias=bool(lstm.bias))
    settings = "".join(f", {key}" for key in ("batch_first",) if getattr(lstm, key))
    what = f"nn.LSTM of torch {torch.__version__}{settings}"
    halves = halves_of(case_lstm, biases)
    return StoredModel(
        case_lstm, stack, what, gates=GATE_ORDER, halves=halves, notes=tuple(notes), beside=value is not lstm, more=lstm
    )


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run by the model as it is; None if it can."""
    model = given_model(read, value_of)
    return joined(unfit_reason(model, case), torch_lstm.unsupported(replace(case, lstm=model.lstm)))


def run(problem: Problem) -> Trace:
    """Run the model on the data of ``problem``, with its own weights.

    Returns:
        As ``backends.torch_lstm``.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        lstm = given_model(read, value_of).more
        # A function may return frozen weights, of which torch would give no gradient.
        for parameter in lstm.parameters():
            parameter.requires_grad_(problem.dh is not None)
    return torch_lstm.trace_of(lstm, problem, stopwatch)


def _lstm_in(value: Any, prefix: str) -> tuple[str, torch.nn.LSTM]:
    if isinstance(value, torch.nn.LSTM):
        return "it", value
    if not isinstance(value, torch.nn.Module):
        returned = "nothing" if value is None else f"a {type(value).__name__} of {type(value).__module__}"
        raise ModelError(f"it gives {returned}. {TAKEN}.")
    kinds = dict(value.named_modules())
    lstms = {name: module for name, module in kinds.items() if isinstance(module, torch.nn.LSTM)}
    names = names_under(list(lstms), prefix)
    if len(names) > 1:
        raise too_many(names)
    if names:
        return names[0], lstms[names[0]]
    others = {
        name: type(module).__name__
        for name, module in kinds.items()
        if type(module).__name__ in _OTHERS or _is_quantised(module)
    }
    if others:
        first, kind = next(iter(others.items()))
        if kind.startswith("GRU"):
            raise ModelError(gru_refusal(first or "it", "torch's is of the first kind"))
        where = f"{first or 'it'} is {'an' if kind[0] in 'LR' else 'a'} {kind}"
        raise ModelError(f"{where}: {_OTHERS.get(kind, 'its weights are quantised, which is not taken')}. {TAKEN}.")
    raise ModelError(f"it is a {type(value).__name__} without an nn.LSTM. {TAKEN}.")


_OTHERS = {
    "GRU": "",  # gru_refusal says more
    "GRUCell": "",
    "RNN": "a plain RNN is another network than an LSTM",
    "RNNCell": "a plain RNN is another network than an LSTM",
    "LSTMCell": "it is one step of an LSTM: load its weights into an nn.LSTM of one layer",
}


def _is_quantised(module: torch.nn.Module) -> bool:
    """Whether it is an LSTM of torch's quantised modules."""
    return type(module).__name__ == "LSTM" and "quantized" in type(module).__module__


def _arrays(lstm: torch.nn.LSTM, lane: Lane) -> LaneArrays:
    def array(name: str) -> Any:
        # In one piece: bfloat16 is read as bits, which a view with gaps cannot be.
        return torch_lstm.array_of(getattr(lstm, name + lane.suffix).cpu().contiguous())

    return LaneArrays(
        array("weight_ih"),
        array("weight_hh"),
        tuple(array(name) for name in ("bias_ih", "bias_hh")) if lstm.bias else (),
        array("weight_hr") if lstm.proj_size else None,
        names=(f"weight_ih{lane.suffix}", f"weight_hh{lane.suffix}", f"bias_ih{lane.suffix}"),
    )
