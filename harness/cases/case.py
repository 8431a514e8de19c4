"""A case: one LSTM, or one attention decoder around it, as its TOML file says it, validated, frozen and hashable."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from lockstep.harness.cases.checks import (
    WAYS_FORWARD,
    check_chunks,
    check_finite,
    check_goes_forward,
    check_golden_shape,
    check_resets,
    check_room,
    frozen_numbers,
)

Size = Annotated[int, Meta(ge=1, le=2**20)]
ValueKind = Literal["zeros", "ones", "uniform", "probe"]
DType = Literal["float16", "bfloat16", "float32", "float64"]
Direction = Literal["forward", "reverse", "bidirectional"]
MergeMode = Literal["concat", "sum", "mul", "ave"]
Score = Literal["dot", "general", "additive"]
ContextUse = Literal["output", "input"]
Model = Literal["lstm", "attention_decoder"]
ActivationName = Literal["tanh", "sigmoid", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "relu", "linear"]


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table of a case file."""


class Values(Table, frozen=True, kw_only=True):
    """Where numbers come from: a kind with a scale, or a file."""

    kind: Annotated[
        ValueKind | None,
        Meta(
            description="zeros; ones; uniform: independent draws; probe: seeded values of which no two "
            "have the same magnitude, none near zero, in a range that keeps every gate sensitive"
        ),
    ] = None
    scale: Annotated[float, Meta(description="Factor on every value of the kind.")] = 1.0
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None,
        Meta(description="Seed of these values, where it is not that of the run."),
    ] = None
    zero_timesteps: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(description="Of inputs: timesteps of x (of enc, in an attention decoder) at which all is 0."),
    ] = ()
    file: Annotated[
        str | None,
        Meta(
            description=".npz or .safetensors, relative to the case file, holding W, R, b (weights; with P for a "
            "projection and p for peepholes, and W_l0, W_l0_reverse, W_l1 ... where there are several), x (inputs), "
            "h0, c0 (initial_state) or dh, dc (cotangents); of an attention decoder W_tilde, b_tilde, W_target, "
            "W_a or W_q, W_k and v_a, and W_encoder, R_encoder, b_encoder too, enc or x and y0, dy and dlogit"
        ),
    ] = None

    def __post_init__(self) -> None:
        if (self.kind is None) == (self.file is None):
            raise ValueError('give either kind = "..." or file = "..."')
        check_finite(scale=self.scale)
        given = {"scale": self.scale != 1.0, "seed": self.seed is not None, "zero_timesteps": bool(self.zero_timesteps)}
        for name, is_given in given.items():
            if self.file is not None and is_given:
                raise ValueError(f"{name} goes with kind, not with file: a file's values are taken as they are")


class LSTM(Table, frozen=True, kw_only=True):
    """The network: what is computed, whatever the data."""

    input_size: Annotated[Size, Meta(description="Width I of the input.")]
    hidden_size: Annotated[Size, Meta(description="Width H of the cell state, and of the hidden state.")]
    num_layers: Annotated[int, Meta(ge=1, le=1000, description="Layers; each takes the output of the one below.")] = 1
    direction: Annotated[
        Direction,
        Meta(
            description="forward; reverse: from each sequence's last valid timestep to its first; bidirectional: "
            "both, forward first, their outputs side by side or as merge_mode has it"
        ),
    ] = "forward"
    merge_mode: Annotated[
        MergeMode,
        Meta(
            description="What a bidirectional layer gives of both directions: concat, side by side; sum; mul, the "
            "product; ave, the mean. The layer above takes it in, and h of the network is it."
        ),
    ] = "concat"
    proj_size: Annotated[
        int, Meta(ge=0, le=2**20, description="Width of the hidden state after a projection; 0 for none.")
    ] = 0
    bias: Annotated[bool, Meta(description="Whether the gates have a bias.")] = True
    forget_bias: Annotated[
        float,
        Meta(description="Constant added to the forget gate before its sigmoid; canonical weights hold it in b."),
    ] = 1.0
    peephole: Annotated[
        bool, Meta(description="Whether gates see the cell state: i and f that before the step, o that after it.")
    ] = False
    cell_clip: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="The cell state is held in [-cell_clip, cell_clip] at every timestep."),
    ] = None
    activation: Annotated[ActivationName, Meta(description="Of the candidate g.")] = "tanh"
    recurrent_activation: Annotated[ActivationName, Meta(description="Of the gates i, f and o.")] = "sigmoid"
    cell_activation: Annotated[ActivationName, Meta(description="Of the cell state, before the output gate.")] = "tanh"
    input_forget: Annotated[
        bool, Meta(description="Whether the forget gate is 1 - i; its own weights are then not used.")
    ] = False

    @property
    def directions(self) -> tuple[bool, ...]:
        """For each direction of a layer, whether it is the reverse one."""
        return {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[self.direction]

    @property
    def activations(self) -> dict[str, ActivationName]:
        """The activation of each gate, and that of the cell state before the output gate, ``u``."""
        gate = self.recurrent_activation
        return {"i": gate, "f": gate, "g": self.activation, "o": gate, "u": self.cell_activation}

    @property
    def output_size(self) -> int:
        """Width P of one direction's hidden state: the projection's, or H."""
        return self.proj_size or self.hidden_size

    def input_size_of(self, layer: int) -> int:
        """Width of what a layer takes in."""
        return self.input_size if layer == 0 else self.layer_width

    @property
    def merged(self) -> bool:
        """Whether a layer gives one output of both directions, not both side by side."""
        return self.merge_mode != "concat"

    @property
    def layer_width(self) -> int:
        """Width of what a layer gives."""
        return self.output_size * (1 if self.merged else len(self.directions))

    @property
    def single(self) -> bool:
        """Whether there is one layer of one direction."""
        return self.num_layers == len(self.directions) == 1

    @property
    def plain(self) -> bool:
        """Whether it is one forward layer of the standard cell."""
        # Equal to one of its sizes: a setting that is added later counts without being named here.
        kept = {name: getattr(self, name) for name in ("input_size", "hidden_size", "bias", "forget_bias")}
        return self == LSTM(**kept)

    def __post_init__(self) -> None:
        if self.merged and self.direction != "bidirectional":
            raise ValueError(
                f'merge_mode = "{self.merge_mode}" is about both directions: set direction = "bidirectional"'
            )
        if self.cell_clip is not None and not math.isfinite(self.cell_clip):
            raise ValueError(f"cell_clip = {self.cell_clip} is not a finite number: leave it out for no clipping")
        if self.input_forget and self.forget_bias:
            raise ValueError(
                f"input_forget = true makes the forget gate 1 - i, where forget_bias = {self.forget_bias} has no "
                "effect: set forget_bias = 0.0"
            )
        check_finite(forget_bias=self.forget_bias)
        if not self.bias and self.forget_bias:
            raise ValueError(
                f"bias = false leaves no place for forget_bias = {self.forget_bias}: set forget_bias = 0.0"
            )


class AttentionDecoder(Table, frozen=True, kw_only=True):
    """A decoder around the LSTM, which is then its cell: ``input_size`` is the width A of what is fed back.

    Each step, after Luong: h, c = cell(y, h, c); scores over the source; their softmax; the context; y =
    tanh(W_tilde [context; h] + b_tilde), which is the next step's input; logit = W_target y.

    After Bahdanau (``context = "input"``) scores are of the h before the step, and h, c = cell([context; y], h, c).
    """

    source_timesteps: Annotated[
        int, Meta(ge=1, le=2**24, description="Number S of encoder outputs that each step attends to.")
    ]
    source_size: Annotated[
        Annotated[int, Meta(ge=1, le=2**20)] | None,
        Meta(description="Width E of the encoder outputs; the encoder's hidden_size, or the cell's, if left out."),
    ] = None
    score: Annotated[
        Score,
        Meta(
            description="dot: enc . h, which asks for E = H; general: enc . (W_a h); additive: v_a . tanh(W_q h + "
            "W_k enc)."
        ),
    ] = "dot"
    attention_size: Annotated[
        Annotated[int, Meta(ge=1, le=2**20)] | None,
        Meta(description="Width U of the tanh in additive scores; the cell's hidden_size if left out."),
    ] = None
    context: Annotated[
        ContextUse,
        Meta(
            description="output: scores are of the new h, and the context goes to the output alone (Luong); input: "
            "they are of the h before the step, and the cell takes in [context; y] too (Bahdanau)."
        ),
    ] = "output"
    output_size: Annotated[Size, Meta(description="Width O of the logits.")] = 1
    encoder: Annotated[
        LSTM | None,
        Meta(
            description="One forward layer of the standard cell whose outputs are attended to; it starts from zeros. "
            "If left out the encoder outputs are given."
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.encoder is not None and not self.encoder.plain:
            raise ValueError("the encoder is one forward layer of the standard cell: remove what asks for another")
        if self.encoder is not None and self.source_size not in {None, self.encoder.hidden_size}:
            raise ValueError(
                f"source_size = {self.source_size}, and the encoder gives {self.encoder.hidden_size}: leave it out"
            )
        if self.attention_size is not None and self.score != "additive":
            raise ValueError(
                f'attention_size belongs to additive scores, and score = "{self.score}": leave it out, or set '
                'score = "additive"'
            )

    def width(self, lstm: LSTM) -> int:
        """E, the width of the encoder outputs, beside the decoder's cell."""
        return self.source_size or (self.encoder.hidden_size if self.encoder else lstm.hidden_size)

    def attention_width(self, lstm: LSTM) -> int:
        """U, the width of the tanh in additive scores, beside the decoder's cell; 0 where there is none."""
        return (self.attention_size or lstm.hidden_size) if self.score == "additive" else 0

    def weight_shapes(self, lstm: LSTM) -> dict[str, tuple[int, int]]:
        """The shapes of the weights of its scores, by name."""
        E, H, U = self.width(lstm), lstm.hidden_size, self.attention_width(lstm)
        additive = {"W_q": (U, H), "W_k": (U, E), "v_a": (1, U)}
        return {"dot": {}, "general": {"W_a": (E, H)}, "additive": additive}[self.score]

    def cell_input(self, lstm: LSTM) -> int:
        """The width of what the cell takes in: y, with the context before it where that goes in."""
        return lstm.input_size + (self.width(lstm) if self.context == "input" else 0)


class Run(Table, frozen=True, kw_only=True):
    """The data: how long, how many, which numbers."""

    timesteps: Annotated[int, Meta(ge=1, le=2**24, description="Length T of the sequences.")]
    batch: Annotated[Size, Meta(description="Number B of sequences.")] = 1
    dtype: Annotated[DType, Meta(description="Precision in which backends compute.")] = "float32"
    weights: Annotated[
        ValueKind | Values, Meta(description="Kernels W, R and bias b; of an attention decoder its projections too.")
    ] = "probe"
    inputs: Annotated[
        ValueKind | Values, Meta(description="Input x; of an attention decoder enc, or x of its encoder, and y0.")
    ] = "probe"
    initial_state: Annotated[ValueKind | Values, Meta(description="States h0 and c0.")] = "zeros"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Seed of uniform and probe values.")] = 0
    lengths: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...] | None,
        Meta(
            description="Valid timesteps of each sequence, 0 to timesteps; all of them if left out. Of an attention "
            "decoder those of each source, 1 to source_timesteps."
        ),
    ] = None
    resets: Annotated[
        tuple[tuple[Annotated[int, Meta(ge=0)], ...], ...] | None,
        Meta(
            description="For each sequence the timesteps at which its state starts anew, from zeros, as where an "
            "episode or a packed document begins: h and c of every layer are 0 before such a step."
        ),
    ] = None
    chunks: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...] | None,
        Meta(
            description="Timesteps of the pieces in which the sequence is run, together timesteps: each starts from "
            "the final states of the one before, and all together must give what the whole gives. In one run if left "
            "out."
        ),
    ] = None
    gradients: Annotated[
        bool,
        Meta(
            description="Whether gradients are compared too, of sum(dh * h) + sum(dc * c_n); of an attention decoder "
            "of sum(dy * y) + sum(dlogit * logit)."
        ),
    ] = False
    cotangents: Annotated[
        ValueKind | Values | None,
        Meta(
            description="dh, of h at every timestep, and dc, of the final cell states (dy and dlogit of an attention "
            "decoder); probe if left out."
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.cotangents is not None and not self.gradients:
            raise ValueError("cotangents are given and gradients = false leaves them unused: set gradients = true")
        for key in VALUE_KEYS:
            if key != "inputs" and self.values(key).zero_timesteps:
                raise ValueError(f"zero_timesteps belongs to inputs: remove it from {key}")
        if self.lengths is not None and len(self.lengths) != self.batch:
            raise ValueError(f"lengths has {len(self.lengths)} entries for batch = {self.batch}")
        if self.resets is not None:
            check_resets(self.resets, self.lengths or (self.timesteps,) * self.batch)
        if self.chunks is not None:
            check_chunks(self.chunks, self.timesteps, gradients=self.gradients)

    def values(self, key: ValuesKey) -> Values:
        """A key's values in their long form."""
        written: str | Values = getattr(self, key) or "probe"
        return written if isinstance(written, Values) else Values(kind=written)  # type: ignore[arg-type]


ValuesKey = Literal["weights", "inputs", "initial_state", "cotangents"]
VALUE_KEYS: tuple[ValuesKey, ...] = get_args(ValuesKey)
GoldenNumbers = float | tuple[Any, ...]


class Expect(Table, frozen=True, kw_only=True):
    """Golden values, from outside this project, that reference and backends must both meet.

    Each is a number for all places, or a list over the leading axes of its tensor: one number per
    timestep, say, for every unit of every sequence.
    """

    h: Annotated[
        GoldenNumbers | None,
        Meta(description="Hidden state, (T, B, H), both directions side by side, or its leading axes."),
    ] = None
    c: Annotated[GoldenNumbers | None, Meta(description="Cell state, likewise.")] = None
    h_n: Annotated[
        GoldenNumbers | None,
        Meta(description="Final hidden state, (B, H), (layers x directions, B, H) of several, or its leading axes."),
    ] = None
    c_n: Annotated[GoldenNumbers | None, Meta(description="Final cell state, likewise.")] = None
    atol: Annotated[float, Meta(gt=0, description="Largest absolute difference that still agrees.")]
    source: Annotated[str, Meta(description="Where the values come from.")]

    def __post_init__(self) -> None:
        check_finite(atol=self.atol)
        if not self.tensors():
            raise ValueError("no golden values: give at least one of h, c, h_n, c_n")
        for name, golden in self.tensors().items():
            # Inner lists become tuples too: a case is to be hashable.
            force_setattr(self, name, frozen_numbers(name, golden))

    def tensors(self) -> dict[str, GoldenNumbers]:
        """The golden values by tensor."""
        golden_values = {name: getattr(self, name) for name in ("h", "c", "h_n", "c_n")}
        return {name: golden for name, golden in golden_values.items() if golden is not None}


class Tolerance(Table, frozen=True, kw_only=True):
    """A gate of the case's own, in place of the one derived from rounding."""

    rtol: Annotated[float, Meta(ge=0, description="Relative part.")]
    atol: Annotated[float, Meta(ge=0, description="Absolute part.")]

    def __post_init__(self) -> None:
        check_finite(rtol=self.rtol, atol=self.atol)


class Case(Table, frozen=True, kw_only=True):
    """One LSTM configuration with its data, and what is expected of it."""

    lstm: LSTM
    run: Run
    attention_decoder: AttentionDecoder | None = None
    name: Annotated[
        str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.+-]{0,99})?$", description="Defaults to the file's name.")
    ] = ""
    description: Annotated[str, Meta(description="What the case tries to break, in one line.")] = ""
    expect: Expect | None = None
    tolerance: Tolerance | None = None

    def __post_init__(self) -> None:
        T, B = self.run.timesteps, self.run.batch
        lstm, lanes = self.lstm, self.lstm.num_layers * len(self.lstm.directions)
        # The wider of the first layer and the others.
        I, G, P = max(lstm.input_size_of(0), lstm.input_size_of(1)), 4 * lstm.hidden_size, lstm.output_size
        if self.attention_decoder is not None:
            self._check_decoder(self.attention_decoder)
        self._check_lengths()
        for key, reason in WAYS_FORWARD.items():
            if getattr(self.run, key) is not None:
                check_goes_forward(key, self.lstm.direction, reason, decoder=self.attention_decoder is not None)
        check_room({
            "timesteps x batch x (input_size + 4 hidden_size), for each layer and direction": lanes * T * B * (I + G),
            "4 hidden_size x (input_size + hidden_size), for each layer and direction": lanes * G * (I + P),
        })  # fmt: skip
        if self.expect is not None:
            for name, golden in self.expect.tensors().items():
                check_golden_shape(name, golden, self.natural_shape(name))

    def _check_lengths(self) -> None:
        decoder, longest_given = self.attention_decoder, max(self.run.lengths or (0,))
        shortest, key = (0, "timesteps") if decoder is None else (1, "source_timesteps")
        longest = self.run.timesteps if decoder is None else decoder.source_timesteps
        if longest_given > longest:
            raise ValueError(
                f"[run] lengths has {longest_given}, beyond {key} = {longest}: allowed are {shortest} to {longest}"
            )

    def _check_decoder(self, decoder: AttentionDecoder) -> None:
        lstm, width = self.lstm, decoder.width(self.lstm)
        if not lstm.plain:
            raise ValueError(
                "[lstm] beside [attention_decoder] is its cell, one forward layer of the standard cell: remove what "
                "asks for another"
            )
        if decoder.score == "dot" and width != lstm.hidden_size:
            raise ValueError(
                f'score = "dot" multiplies encoder outputs of width {width} with a state of hidden_size = '
                f'{lstm.hidden_size}: make them equal, or set score = "general" or "additive"'
            )
        if 0 in (self.run.lengths or ()):
            raise ValueError("[run] lengths has 0: a source of no timesteps leaves nothing to attend to")
        if self.expect is not None and {"h_n", "c_n"} & self.expect.tensors().keys():
            raise ValueError("an attention decoder has golden values for h and c alone, at every step")
        A, O, E, S = lstm.input_size, decoder.output_size, width, decoder.source_timesteps
        T, B, H = self.run.timesteps, self.run.batch, lstm.hidden_size
        U = decoder.attention_width(lstm)
        check_room({
            "timesteps x batch x (2 source_timesteps + source_size + 2 hidden_size + input_size + output_size)":
                T * B * (2 * S + E + 2 * H + A + O),
            "source_timesteps x batch x source_size": S * B * E,
            "source_timesteps x batch x attention_size, for each timestep": T * S * B * U,
            "the projections together": A * (E + H) + O * A + (E + U) * H + (U + 4 * H) * E,
        })  # fmt: skip

    @property
    def model(self) -> Model:
        """What is computed: a network of LSTMs, or an attention decoder."""
        return "lstm" if self.attention_decoder is None else "attention_decoder"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """T, B, I and H."""
        return self.run.timesteps, self.run.batch, self.lstm.input_size, self.lstm.hidden_size

    @property
    def plain(self) -> bool:
        """Whether it is one forward layer of the standard cell, run at once, forward, in single or double precision."""
        run, standard = self.run, self.model == "lstm" and self.lstm.plain
        at_once = run.chunks is None and run.resets is None
        return standard and at_once and not run.gradients and run.dtype in {"float32", "float64"}

    def natural_shape(self, name: str) -> tuple[int, ...]:
        """The shape of h, c or a gate at every timestep, or of h_n, c_n, h0 or c0, as frameworks give them.

        Directions stand side by side, but in an h that is merged of them; layers and directions of a final or initial
        state stand before the batch; of one layer in one direction that axis is left out.
        """
        T, B, _, H = self.shape
        width = self.lstm.output_size if name in {"h", "h_n", "h0", "dh0"} else H
        directions = len(self.lstm.directions)
        if name == "h":
            return T, B, self.lstm.layer_width
        if name in {"h_n", "c_n", "h0", "c0", "dh0", "dc0"}:
            return (B, width) if self.lstm.single else (self.lstm.num_layers * directions, B, width)
        return T, B, directions * width
