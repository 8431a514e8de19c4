"""Attention decoders for tests: one way to make them."""

from __future__ import annotations

from typing import Any

from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run

SOURCE = set(AttentionDecoder.__struct_fields__)


def make_decoder(name: str = "decoder", **settings: Any) -> Case:
    """Make a case; settings of the tables [lstm], [attention_decoder] and [run] by their own names."""
    lstm = {"input_size": 6, "hidden_size": 4} | {k: v for k, v in settings.items() if k in LSTM.__struct_fields__}
    run = {"timesteps": 4, "batch": 3, "initial_state": "probe"}
    run |= {k: v for k, v in settings.items() if k in Run.__struct_fields__}
    own = {"source_timesteps": 5} | {k: v for k, v in settings.items() if k in SOURCE}
    rest = {k: v for k, v in settings.items() if k in {"expect", "tolerance", "description"}}
    return Case(lstm=LSTM(**lstm), attention_decoder=AttentionDecoder(**own), run=Run(**run), name=name, **rest)


ENCODER = LSTM(input_size=3, hidden_size=4)
# Every feature that changes what is computed.
FORMS: dict[str, dict[str, Any]] = {
    "dot": {},
    "general": {"score": "general", "source_size": 3, "hidden_size": 5},
    "lengths": {"lengths": (5, 2, 1)},
    "encoder": {"encoder": ENCODER},
    "encoder, general, lengths": {"encoder": ENCODER, "score": "general", "hidden_size": 5, "lengths": (3, 5, 1)},
    "additive": {"score": "additive", "source_size": 3, "attention_size": 7},
    "into the cell": {"score": "general", "context": "input", "source_size": 3},
    "additive, into the cell, lengths": {
        "score": "additive",
        "context": "input",
        "source_size": 3,
        "hidden_size": 5,
        "lengths": (5, 2, 1),
    },
    "encoder, additive, into the cell": {"encoder": ENCODER, "score": "additive", "context": "input", "hidden_size": 5},
    "no bias": {"bias": False, "forget_bias": 0.0},
    "one of everything": {"timesteps": 1, "batch": 1, "input_size": 1, "hidden_size": 1, "source_timesteps": 1},
}
