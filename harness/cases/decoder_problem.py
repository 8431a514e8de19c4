"""A problem of an attention decoder: its case made concrete. ``problem_of`` makes that of any case."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import AttentionDecoder, Case
from lockstep.harness.cases.problem import Problem, digest_of, quantised, values_of, with_biases
from lockstep.harness.cases.tensors import decoder_weight_shapes


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """Canonical weights of an attention decoder: gates i, f, g, o; ``b`` holds the forget bias."""

    W: Array  # (4H, A), of the cell
    R: Array  # (4H, H)
    b: Array  # (4H,)
    W_tilde: Array  # (A, E + H), multiplies [context; h]
    b_tilde: Array  # (A,)
    W_target: Array  # (O, A)
    W_a: Array | None = None  # (E, H), of general scores
    W_encoder: Array | None = None  # (4E, I)
    R_encoder: Array | None = None  # (4E, E)
    b_encoder: Array | None = None  # (4E,)

    def arrays(self) -> Arrays:
        """Those that are there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, eq=False)
class DecoderProblem:
    """Weights, source, initial state and first input of a case, in its dtype; all arrays are read-only."""

    case: Case
    weights: DecoderWeights
    h0: Array  # (B, H)
    c0: Array  # (B, H)
    y0: Array  # (B, A), the first step's input
    enc: Array | None = None  # (S, B, E), the encoder outputs where they are given
    x: Array | None = None  # (S, B, I), what the encoder takes in where there is one
    lengths: Array | None = None  # (B,), int64, of the sources
    dy: Array | None = None  # (T, B, A), the cotangent of y
    dlogit: Array | None = None  # (T, B, O), that of the logits

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as constructor arguments: arrays arrive read-only in the worker too.
        return DecoderProblem, tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def from_case(cls, case: Case) -> DecoderProblem:
        """Make a case concrete.

        Raises:
            CaseError: If a file it names is unreadable or holds other names, shapes or types.
        """
        decoder = case.attention_decoder
        assert decoder is not None
        T, B, A, H = case.shape
        S, E, O = decoder.source_timesteps, decoder.width(case.lstm), decoder.output_size
        source = {"enc": (S, B, E)} if decoder.encoder is None else {"x": (S, B, decoder.encoder.input_size)}
        arrays = values_of(case, "inputs", {**source, "y0": (B, A)}, 1.0, 1.0)
        arrays |= values_of(case, "initial_state", {"h0": (B, H), "c0": (B, H)}, 1.0, 1.0)
        if case.run.gradients:
            arrays |= values_of(case, "cotangents", {"dy": (T, B, A), "dlogit": (T, B, O)}, 1.0, 1.0)
        weights = {name: quantised(name, array, case) for name, array in _weights(case, decoder).items()}
        arrays = {name: quantised(name, array, case) for name, array in arrays.items()}
        lengths = None if case.run.lengths is None else np.array(case.run.lengths, np.int64)
        return cls(case, DecoderWeights(**weights), **arrays, lengths=lengths)

    @property
    def decoder(self) -> AttentionDecoder:
        """What the case says of the decoder."""
        assert self.case.attention_decoder is not None
        return self.case.attention_decoder

    @property
    def valid(self) -> Array | None:
        """Which source timesteps are to be attended to, (B, S); None if all are."""
        if self.lengths is None:
            return None
        return np.arange(self.decoder.source_timesteps) < self.lengths[:, None]

    def arrays(self) -> Arrays:
        """The arrays by name; what the case does not have is left out."""
        inputs = {name: getattr(self, name) for name in ("enc", "x", "y0", "h0", "c0", "lengths", "dy", "dlogit")}
        return {**self.weights.arrays(), **{name: array for name, array in inputs.items() if array is not None}}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and little-endian bytes of all arrays."""
        return self.fresh_digest()

    def fresh_digest(self) -> str:
        """``digest`` of what the arrays hold now."""
        return digest_of(self.arrays())


AnyProblem = Problem | DecoderProblem


def problem_of(case: Case) -> AnyProblem:
    """Make a case concrete.

    Raises:
        CaseError: If a file it names is unreadable or holds other names, shapes or types.
    """
    return Problem.from_case(case) if case.attention_decoder is None else DecoderProblem.from_case(case)


def _weights(case: Case, decoder: AttentionDecoder) -> Arrays:
    """Draw or read the weights: each in a range that keeps what it multiplies sensitive."""
    shapes = decoder_weight_shapes(case)
    kind = case.run.values("weights").kind
    drawn = values_of(case, "weights", shapes, 1.0, 1.0)
    if kind in {"probe", "uniform"}:
        # As for a layer: a bound of 2 / sqrt(terms that are summed), of nn.LSTM's own 1 / sqrt(width) for uniform.
        terms = {name: shape[-1] for name, shape in shapes.items()}
        terms |= {"W": sum(shapes[name][-1] for name in "WR"), "R": sum(shapes[name][-1] for name in "WR")}
        factor = 2 if kind == "probe" else 1
        drawn = {name: array * (factor / np.sqrt(float(terms[name]))) for name, array in drawn.items()}
    owners = {"b": case.lstm, "b_encoder": decoder.encoder}
    drawn = with_biases(case, drawn, {name: lstm for name, lstm in owners.items() if lstm is not None})
    if kind == "ones":
        drawn["b_tilde"] = np.zeros_like(drawn["b_tilde"])
    return drawn
