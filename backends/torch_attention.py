"""An attention decoder as a ``torch.nn.Module`` of ``nn.LSTMCell`` and ``nn.Linear``, gradients by autograd.

Its layers are made once and called at each step. Gates stacked i, f, g, o as in canonical weights; of the cell's two
biases, which are summed, the first takes ``b`` and the second is zero. An encoder is an ``nn.LSTM``; with lengths it
takes packed sequences. Source: PyTorch documentation, ``torch.nn.LSTMCell``, ``torch.nn.functional.softmax``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn

from lockstep.backends.torch_lstm import array_of, run_lstm, tensor_of
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case
from lockstep.harness.cases.decoder_problem import DecoderProblem

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"
MODEL = "attention_decoder"


class Decoder(nn.Module):
    """The decoder, and its encoder if it has one."""

    def __init__(self, cell: LSTM, decoder: AttentionDecoder, dtype: torch.dtype) -> None:
        """Make the layers; their weights are set later."""
        super().__init__()
        A, H, E = cell.input_size, cell.hidden_size, decoder.width(cell)
        self.lstm_cell = nn.LSTMCell(decoder.cell_input(cell), H, bias=cell.bias, dtype=dtype)
        # In order of use: by these names layers and their weights are found.
        linear = {name: nn.Linear(*reversed(shape), bias=False, dtype=dtype)
                  for name, shape in decoder.weight_shapes(cell).items()}  # fmt: skip
        self.attention = nn.ModuleDict(linear)
        self.into_cell = decoder.context == "input"
        self.combine = nn.Linear(E + H, A, dtype=dtype)
        self.project = nn.Linear(A, decoder.output_size, bias=False, dtype=dtype)
        encoder = decoder.encoder
        self.encoder = None if encoder is None else nn.LSTM(encoder.input_size, E, bias=encoder.bias, dtype=dtype)

    def forward(self, enc, h, c, y, steps: int, valid) -> dict[str, torch.Tensor]:
        """Decode: of each step c, h, scores, attention, context, y, logit, time first."""
        rows: dict[str, list[torch.Tensor]] = {}
        source = enc.transpose(0, 1)  # (B, S, E)
        if valid is not None:
            # What is not attended to has weight 0, and 0 times NaN would be NaN.
            source = source.masked_fill(~valid[..., None], 0)
        # Once for all steps, as most write it.
        keys = self.attention["W_k"](source) if "W_k" in self.attention else source
        for _ in range(steps):
            if self.into_cell:
                attended = self._attend(source, keys, h, valid)
                h, c = self.lstm_cell(torch.cat([attended["context"], y], dim=-1), (h, c))
            else:
                h, c = self.lstm_cell(y, (h, c))
                attended = self._attend(source, keys, h, valid)
            y = torch.tanh(self.combine(torch.cat([attended["context"], h], dim=-1)))
            for name, value in {"c": c, "h": h, **attended, "y": y, "logit": self.project(y)}.items():
                rows.setdefault(name, []).append(value)
        return {name: torch.stack(values) for name, values in rows.items()}

    def _attend(self, source, keys, h, valid) -> dict[str, torch.Tensor]:
        """Scores, attention and context of a state."""
        layers = self.attention
        if "v_a" in layers:
            scores = layers["v_a"](torch.tanh(layers["W_q"](h)[:, None] + keys))[..., 0]
        else:
            query = layers["W_a"](h) if "W_a" in layers else h
            scores = torch.bmm(keys, query[..., None])[..., 0]
        masked = scores if valid is None else scores.masked_fill(~valid, -torch.inf)
        attention = torch.softmax(masked, dim=-1)
        shown = scores if valid is None else scores.masked_fill(~valid, 0)
        return {"scores": shown, "attention": attention, "context": torch.bmm(attention[:, None], source)[:, 0]}


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: DecoderProblem) -> Trace:
    """Run the decoder of ``problem``.

    Returns:
        c, h, scores, attention, context, y and logit of each step, the encoder outputs if there is an encoder, and
        gradients if they are asked for.
    """
    p, gradients = problem, problem.dy is not None
    assert p.case.attention_decoder is not None
    stopwatch = Stopwatch()
    with stopwatch("build"):
        decoder = _decoder(p.case.lstm, p.case.attention_decoder, p.case.run.dtype)
    with stopwatch("run"), torch.inference_mode(not gradients):
        weights = _weights(p, decoder)
        with torch.no_grad():
            for name, parameter in decoder.named_parameters():
                parameter.copy_(tensor_of(weights[name][1])) if name in weights else parameter.zero_()
        inputs_and_states = {"h0": p.h0, "c0": p.c0, "y0": p.y0, **({"x": p.x} if p.enc is None else {"enc": p.enc})}
        inputs = {
            name: tensor_of(array).requires_grad_(gradients)
            for name, array in inputs_and_states.items()
            if array is not None
        }
        lengths = None if p.lengths is None else torch.tensor(p.lengths)
        enc = inputs["enc"] if decoder.encoder is None else _encode(decoder.encoder, inputs["x"], lengths)
        valid = None if p.valid is None else torch.tensor(p.valid)
        tensors = decoder(enc, inputs["h0"], inputs["c0"], inputs["y0"], p.case.run.timesteps, valid)
        if p.dy is not None and p.dlogit is not None:
            parameters = dict(decoder.named_parameters())
            wanted = inputs | {kind: parameters[name] for name, (kind, _) in weights.items() if _wanted(kind, p)}
            cotangents = tensor_of(p.dy), tensor_of(p.dlogit)
            of = torch.autograd.grad((tensors["y"], tensors["logit"]), list(wanted.values()), cotangents)
            tensors |= {f"d{name}": gradient for name, gradient in zip(wanted, of, strict=True)}
        if decoder.encoder is not None:
            tensors["enc"] = enc
        arrays: dict[str, Any] = {name: array_of(tensor) for name, tensor in tensors.items()}
    return Trace(
        parameters=tuple(Parameter(name, tuple(value.shape)) for name, value in decoder.named_parameters()),
        device=str(decoder.combine.weight.device),
        seconds=stopwatch.seconds,
        **arrays,
    )


@lru_cache(maxsize=8)
def _decoder(cell: LSTM, decoder: AttentionDecoder, dtype: str) -> Decoder:
    return Decoder(cell, decoder, getattr(torch, dtype))


def _encode(encoder: nn.LSTM, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """The encoder outputs (S, B, E), from zeros; 0 past a source's length."""
    zero = x.new_zeros((1, x.shape[1], encoder.hidden_size))
    return run_lstm(encoder, x, zero, zero, lengths)[0]


def _weights(p: DecoderProblem, decoder: Decoder) -> dict[str, tuple[str, Any]]:
    """By the module's names the canonical names and weights; what has none stays zero."""
    w = p.weights
    named = {
        "lstm_cell.weight_ih": "W", "lstm_cell.weight_hh": "R", "lstm_cell.bias_ih": "b",
        "combine.weight": "W_tilde", "combine.bias": "b_tilde", "project.weight": "W_target",
        **{f"attention.{name}.weight": name for name in decoder.attention},
        "encoder.weight_ih_l0": "W_encoder", "encoder.weight_hh_l0": "R_encoder", "encoder.bias_ih_l0": "b_encoder",
    }  # fmt: skip
    in_decoder = {name for name, _ in decoder.named_parameters()}
    return {name: (kind, w.arrays()[kind]) for name, kind in named.items() if name in in_decoder}


def _wanted(kind: str, p: DecoderProblem) -> bool:
    """Whether a weight's gradient belongs into the trace."""
    encoder = p.decoder.encoder
    return (kind != "b" or p.case.lstm.bias) and (kind != "b_encoder" or (encoder is not None and encoder.bias))
