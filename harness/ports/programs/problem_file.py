"""The file of a problem, which a program reads: arrays by name, and the case's sizes and flags as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec import to_builtins
from msgspec.structs import asdict

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.ports.arguments import decoder_weights_in, network_weights_in
from lockstep.harness.ports.programs.weight_names import by_names, weight_names

METADATA = "case"  # the key under which a problem's file tells of its case


def write_problem(path: Path, problem: AnyProblem, layout: str) -> None:
    """Write a problem, its weights as a layout has them.

    Raises:
        UserCodeError: If the layout has no place for them.
        OSError: If it cannot be written.
    """
    # Without spaces, so that a program without a parser may search for "plain":true.
    text = json.dumps(description_of(problem.case, layout), separators=(",", ":"))
    save_safetensors(path, arrays_of(problem, layout), {METADATA: text})


def arrays_of(problem: AnyProblem, layout: str) -> Arrays:
    """The arrays of a problem by their names in its file."""
    inputs = {name: getattr(problem, name) for name in problem.INPUTS if getattr(problem, name) is not None}
    if isinstance(problem, DecoderProblem):
        return {**inputs, **decoder_weights_in(problem, layout)}
    weights = network_weights_in(problem, layout)
    return {**inputs, **by_names(weights, weight_names(weights, problem.case.lstm))}


def description_of(case: Case, layout: str) -> dict[str, Any]:
    """What a file says of its case: what to compute, and how large all is."""
    decoder, run = case.attention_decoder, case.run
    # What is added to the forget gate is in b already: whoever reads it here too would add it twice.
    lstm = {name: value for name, value in asdict(case.lstm).items() if name != "forget_bias"}
    told = {
        "form": "decoder" if decoder is not None else "layer" if case.lstm.single else "network",
        "plain": decoder is None and case.lstm.plain and not run.gradients and run.resets is None,
        "gradients": run.gradients, "dtype": run.dtype, "layout": layout,
        "timesteps": run.timesteps, "batch": run.batch, **lstm,
    }  # fmt: skip
    if decoder is not None:
        told |= {name: value for name, value in asdict(decoder).items() if name != "encoder"}
        told |= {"source_size": decoder.width(case.lstm), "attention_size": decoder.attention_width(case.lstm)}
    return to_builtins(told)
