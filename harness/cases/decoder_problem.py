"""A problem of an attention decoder: its case made concrete. ``problem_of`` makes that of any case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import AttentionDecoder, Case
from lockstep.harness.cases.problem import Concrete, NamedArrays, Problem, inputs_of, quantised, values_of, with_biases
from lockstep.harness.cases.tensors import case_weight_shapes


@dataclass(frozen=True, eq=False)
class DecoderWeights(NamedArrays):
    """Canonical weights of an attention decoder: gates i, f, g, o; ``b`` holds the forget bias."""

    W: Array  # (4H, A), of the cell; (4H, E + A), multiplies [context; y], where the context goes in
    R: Array  # (4H, H)
    b: Array  # (4H,)
    W_tilde: Array  # (A, E + H), multiplies [context; h]
    b_tilde: Array  # (A,)
    W_target: Array  # (O, A)
    W_a: Array | None = None  # (E, H), of general scores
    W_q: Array | None = None  # (U, H), of additive scores
    W_k: Array | None = None  # (U, E)
    v_a: Array | None = None  # (1, U)
    W_encoder: Array | None = None  # (4E, I)
    R_encoder: Array | None = None  # (4E, E)
    b_encoder: Array | None = None  # (4E,)


@dataclass(frozen=True, eq=False)
class DecoderProblem(Concrete):
    """Weights, source, initial state and first input of a case, in its dtype; all arrays are read-only."""

    INPUTS = ("enc", "x", "y0", "h0", "c0", "lengths", "dy", "dlogit")

    weights: DecoderWeights
    h0: Array  # (B, H)
    c0: Array  # (B, H)
    y0: Array  # (B, A), the first step's input
    enc: Array | None = None  # (S, B, E), the encoder outputs where they are given
    x: Array | None = None  # (S, B, I), what the encoder takes in where there is one
    lengths: Array | None = None  # (B,), int64, of the sources
    dy: Array | None = None  # (T, B, A), the cotangent of y
    dlogit: Array | None = None  # (T, B, O), that of the logits

    @classmethod
    def from_case(cls, case: Case) -> DecoderProblem:
        """Make a case concrete; a CaseError if a file it names is unreadable or holds other names, shapes or types."""
        decoder = case.attention_decoder
        assert decoder is not None
        T, B, A, _ = case.shape
        S, E, O = decoder.source_timesteps, decoder.width(case.lstm), decoder.output_size
        source = {"enc": (S, B, E)} if decoder.encoder is None else {"x": (S, B, decoder.encoder.input_size)}
        weights = {name: quantised(name, array, case) for name, array in _weights(case, decoder).items()}
        inputs = inputs_of(case, {**source, "y0": (B, A)}, {"dy": (T, B, A), "dlogit": (T, B, O)})
        return cls(case, DecoderWeights(**weights), **inputs)

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

    def named_weights(self) -> Arrays:
        """The weights by name."""
        return self.weights.arrays()


AnyProblem = Problem | DecoderProblem


def problem_of(case: Case) -> AnyProblem:
    """Make a case concrete.

    Raises:
        CaseError: If a file it names is unreadable or holds other names, shapes or types.
    """
    return Problem.from_case(case) if case.attention_decoder is None else DecoderProblem.from_case(case)


def _weights(case: Case, decoder: AttentionDecoder) -> Arrays:
    """Draw or read the weights: each in a range that keeps what it multiplies sensitive."""
    shapes = case_weight_shapes(case)
    kind = case.run.values("weights").kind
    drawn = values_of(case, "weights", shapes)
    if kind in {"probe", "uniform"}:
        # As for a layer: a bound of 2 / sqrt(terms that are summed), of nn.LSTM's own 1 / sqrt(width) for uniform.
        terms = {name: shape[-1] for name, shape in shapes.items()}
        for summed in (("W", "R"), ("W_q", "W_k")):
            terms |= {name: sum(shapes[other][-1] for other in summed) for name in summed if name in shapes}
        factor = 2 if kind == "probe" else 1
        drawn = {name: array * (factor / np.sqrt(float(terms[name]))) for name, array in drawn.items()}
    owners = {"b": case.lstm, "b_encoder": decoder.encoder}
    drawn = with_biases(case, drawn, {name: lstm for name, lstm in owners.items() if lstm is not None})
    if kind == "ones":
        drawn["b_tilde"] = np.zeros_like(drawn["b_tilde"])
    return drawn
