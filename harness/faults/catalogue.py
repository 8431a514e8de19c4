"""The catalogue: every named fault, family by family, made from the tables of ``rules`` and their words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from lockstep.harness.faults.fault import Fault, _fault
from lockstep.harness.faults.rules import (
    BATCHES,
    FEATURE_RULES,
    LENGTH_RULES,
    PADDING,
    TIMES,
)
from lockstep.harness.faults.step_faults import _activation, _cell, _clip, _initial_state, _precision, _scale, _state
from lockstep.harness.faults.weight_faults import _bias, _forget_bias, _gate_order, _kernel, _shared_blocks


@cache
def catalogue() -> dict[str, Fault]:
    """Give every named fault, by name."""
    families = (
        _gate_order, _shared_blocks, _forget_bias, _bias, _kernel, _activation, _cell, _state, _initial_state, _time,
        _batch, _returned, _padding, _clip, _precision, _scale,
    )  # fmt: skip
    names: dict[str, Fault] = {}
    for fault in (fault for family in families for fault in family()):
        assert fault.name not in names, fault.name
        names[fault.name] = fault
    return names


def _time() -> Iterator[Fault]:
    for value in TIMES:
        if value == "given":
            continue
        slug = value.replace(",", "").replace(" ", "-")
        yield _fault(f"x-{slug}", "time", f"The input over time is taken wrongly: {value}.", x_time=value)
        yield _fault(
            f"returned-{slug}", "time", f"What is returned stands at the wrong time: {value}.",
            h_order=value, c_order=value,
        )  # fmt: skip
        yield _fault(f"h-returned-{slug}", "time", f"h is returned at the wrong time: {value}.", h_order=value)
        yield _fault(f"c-returned-{slug}", "time", f"c is returned at the wrong time: {value}.", c_order=value)
    for value, words in (("reversed", "from the last step to the first"),
                         ("reversed within lengths", "from each sequence's last valid step to its first")):  # fmt: skip
        slug = value.replace(" ", "-")
        yield _fault(
            f"run-{slug}", "time", f"The sequence is run backward, {words}, and returned in its own order.",
            "Run forward: from timestep 0 on.", x_time=value, h_order=value, c_order=value,
        )  # fmt: skip


def _batch() -> Iterator[Fault]:
    for value in BATCHES:
        if value == "given":
            continue
        slug = value.replace("(", "").replace(")", "").replace(",", "").replace(" ", "-")
        yield _fault(f"x-batch-{slug}", "batch", f"The input over the batch is taken wrongly: {value}.", x_batch=value)
        yield _fault(
            f"returned-batch-{slug}", "batch", f"What is returned stands at the wrong sequence: {value}.",
            h_batch=value, c_batch=value,
        )  # fmt: skip
        yield _fault(f"h-batch-{slug}", "batch", f"h is returned at the wrong sequence: {value}.", h_batch=value)
        yield _fault(f"c-batch-{slug}", "batch", f"c is returned at the wrong sequence: {value}.", c_batch=value)
    for there, back in (
        ("(B, T) read as (T, B)", "(T, B) read as (B, T)"),
        ("(T, B) read as (B, T)", "(B, T) read as (T, B)"),
    ):
        slug = "batch-major" if there.startswith("(B") else "time-major"
        yield _fault(
            f"{slug}-reshaped-both-ways", "batch",
            "Input and result are reshaped between (B, T) and (T, B) where they must be transposed.",
            x_batch=there, h_batch=back, c_batch=back,
        )  # fmt: skip
    for value in FEATURE_RULES:
        if value != "given":
            yield _fault(
                f"x-features-{value.replace(' ', '-')}", "batch", f"The features of x are taken wrongly: {value}.",
                "Feed x as it is given.", x_features=value,
            )  # fmt: skip


def _returned() -> Iterator[Fault]:
    words = {
        "c": "the cell state c", "h": "the hidden state h", "u": "tanh(c) without the output gate", "i": "the gate i",
        "f": "the gate f", "g": "the candidate g", "o": "the gate o", "h before": "the h that the step was fed",
        "c before": "the c that the step was fed", "zero": "zero", "tanh(h)": "tanh(h)", "tanh(c)": "tanh(c)",
        "h0": "the initial h0", "c0": "the initial c0",
    }  # fmt: skip
    for own in "hc":
        for value, text in words.items():
            if value == own or (own == "h" and value == "tanh(c)"):
                continue
            slug = value.replace(" ", "-").replace("(", "-").replace(")", "")
            yield _fault(
                f"{own}-returned-as-{slug}", "returned", f"{text[0].upper()}{text[1:]} is returned for {own}.",
                **{f"{own}_returned": value},
            )  # fmt: skip
    yield _fault(
        "h-and-c-returned-exchanged", "returned", "h_seq and c_seq are returned in each other's place.",
        "Return (h_seq, c_seq), in this order.", h_returned="c", c_returned="h",
    )  # fmt: skip
    yield _fault(
        "state-returned-before-step", "returned", "h and c before each step are returned, not those after it.",
        h_returned="h before", c_returned="c before",
    )  # fmt: skip


def _padding() -> Iterator[Fault]:
    words = {
        "ignored": "lengths are ignored: every sequence runs through all timesteps",
        "h kept": "past the end h keeps its last value; it must be 0",
        "h masked, c runs on": "past the end h is 0, but the state runs on through the padding",
        "h kept, c runs on": "past the end h keeps its last value, as state too, but c runs on through the padding",
        "both computed, c kept": "past the end h and c run on through the padding; only the returned c is kept",
        "both computed, h kept": "past the end h and c run on through the padding; only the returned h is kept",
        "both zero": "past the end c is 0; it must keep its last value",
        "h runs on, c kept": "past the end h is still computed from the padding; only c is kept, as state too",
        "h kept, c zero": "past the end h keeps its last value and c is 0: the other way round",
        "h runs on, c zero": "past the end h is still computed from the padding, and c is 0",
        "initial state": "past the end h and c fall back to the initial state",
        "h zero, c initial": "past the end c falls back to the initial state",
    }
    for value in PADDING:
        if value != "masked":
            yield _fault(
                f"padding-{value.replace(',', '').replace(' ', '-')}", "padding",
                f"{words[value][0].upper()}{words[value][1:]}.", padding=value,
            )  # fmt: skip
    for value in LENGTH_RULES:
        if value != "given":
            yield _fault(
                f"lengths-{value.replace(',', '').replace(' ', '-')}", "padding",
                f"The lengths of the sequences are taken wrongly: {value}.",
                "Use each sequence's own length, in the order of the batch.", lengths=value,
            )  # fmt: skip
