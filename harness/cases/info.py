"""What a report says of a case: its sizes, and the features it uses, by the names of ``harness.jobs.support``."""

from __future__ import annotations

from msgspec import Struct

from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case


def case_info(case: Case) -> CaseInfo:
    """What results keep of a case."""
    T, B, I, H = case.shape
    return CaseInfo(
        description=case.description,
        features=features_used(case),
        timesteps=T,
        batch=B,
        input_size=I,
        hidden_size=H,
        dtype=case.run.dtype,
        model=case.model,
    )


def features_used(case: Case) -> list[str]:
    """Name each feature that a case uses, one by one: "lengths" and "layers", not "bidirectional layers, lengths"."""
    run, lstm, decoder = case.run, case.lstm, case.attention_decoder
    used = {
        run.dtype: True,
        "no bias": not lstm.bias,
        "initial state": run.values("initial_state").kind != "zeros",
        "lengths": run.lengths is not None,
        "lengths with 0": 0 in (run.lengths or ()),
        "resets": run.resets is not None,
        "gradients": run.gradients,
        **(_of_network(lstm) if decoder is None else _of_decoder(decoder)),
    }
    return [name for name, is_used in used.items() if is_used]


def _of_network(lstm: LSTM) -> dict[str, bool]:
    activations = lstm.activation, lstm.recurrent_activation, lstm.cell_activation
    alike = lstm.activation == lstm.cell_activation and lstm.recurrent_activation == "sigmoid"
    return {
        "layers": lstm.num_layers > 1,
        "reverse": lstm.direction == "reverse",
        "bidirectional": lstm.direction == "bidirectional",
        "merged directions": lstm.merged,
        "projection": lstm.proj_size > 0,
        "peepholes": lstm.peephole,
        "cell clip": lstm.cell_clip is not None,
        "coupled gates": lstm.input_forget,
        "hard sigmoid 0.2 z": "hard_sigmoid_0.2" in activations,
        "hard sigmoid z/6": "hard_sigmoid_1/6" in activations,
        "one other activation": alike and lstm.activation != "tanh",
        "any activations": not alike and lstm.activation != lstm.cell_activation,
    }


def _of_decoder(decoder: AttentionDecoder) -> dict[str, bool]:
    return {
        "general scores": decoder.score == "general",
        "additive scores": decoder.score == "additive",
        "context into the cell": decoder.context == "input",
        "wide logits": decoder.output_size > 1,
        "encoder": decoder.encoder is not None,
    }


class CaseInfo(Struct, frozen=True, kw_only=True):
    """What a report says of a case."""

    description: str  # of the case file
    features: list[str]  # what it uses, by the names of the matrix of backends
    timesteps: int
    batch: int
    input_size: int
    hidden_size: int
    dtype: str  # its precision
    model: str  # "lstm" or "attention_decoder"
