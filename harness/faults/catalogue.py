"""The catalogue: every named fault, family by family, made from the tables of ``rules`` and their words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from lockstep.harness.faults.fault import Fault, make_fault
from lockstep.harness.faults.rules import BATCHES, FEATURE_RULES, LENGTH_RULES, PADDING, TIMES
from lockstep.harness.faults.step_faults import (
    activation_faults,
    cell_faults,
    clip_faults,
    initial_state_faults,
    precision_faults,
    scale_faults,
    state_faults,
)
from lockstep.harness.faults.weight_faults import (
    bias_faults,
    forget_bias_faults,
    gate_order_faults,
    kernel_faults,
    shared_block_faults,
)


@cache
def catalogue() -> dict[str, Fault]:
    """Every named fault, by name."""
    families = (
        gate_order_faults, shared_block_faults, forget_bias_faults, bias_faults, kernel_faults, activation_faults,
        cell_faults, state_faults, initial_state_faults, time_faults, batch_faults, returned_faults, padding_faults,
        clip_faults, precision_faults, scale_faults,
    )  # fmt: skip
    names: dict[str, Fault] = {}
    for fault in (fault for family in families for fault in family()):
        assert fault.name not in names, fault.name
        names[fault.name] = fault
    return names


def time_faults() -> Iterator[Fault]:
    """Input or results shifted or reversed in time."""
    for value in TIMES:
        if value == "given":
            continue
        slug = value.replace(",", "").replace(" ", "-")
        yield make_fault(f"x-{slug}", "time", f"The input over time is taken wrongly: {value}.", x_time=value)
        yield make_fault(
            f"returned-{slug}", "time", f"What is returned stands at the wrong time: {value}.",
            h_order=value, c_order=value,
        )  # fmt: skip
        yield make_fault(f"h-returned-{slug}", "time", f"h is returned at the wrong time: {value}.", h_order=value)
        yield make_fault(f"c-returned-{slug}", "time", f"c is returned at the wrong time: {value}.", c_order=value)
    for value, words in (("reversed", "from the last step to the first"),
                         ("reversed within lengths", "from each sequence's last valid step to its first")):  # fmt: skip
        slug = value.replace(" ", "-")
        yield make_fault(
            f"run-{slug}", "time", f"The sequence is run backward, {words}, and returned in its own order.",
            "Run forward: from timestep 0 on.", x_time=value, h_order=value, c_order=value,
        )  # fmt: skip


def batch_faults() -> Iterator[Fault]:
    """Sequences of the batch exchanged, or features of the input."""
    for value in BATCHES:
        if value == "given":
            continue
        slug = value.replace("(", "").replace(")", "").replace(",", "").replace(" ", "-")
        yield make_fault(
            f"x-batch-{slug}", "batch", f"The input over the batch is taken wrongly: {value}.", x_batch=value
        )
        yield make_fault(
            f"returned-batch-{slug}", "batch", f"What is returned stands at the wrong sequence: {value}.",
            h_batch=value, c_batch=value,
        )  # fmt: skip
        yield make_fault(f"h-batch-{slug}", "batch", f"h is returned at the wrong sequence: {value}.", h_batch=value)
        yield make_fault(f"c-batch-{slug}", "batch", f"c is returned at the wrong sequence: {value}.", c_batch=value)
    for there, back in (
        ("(B, T) read as (T, B)", "(T, B) read as (B, T)"),
        ("(T, B) read as (B, T)", "(B, T) read as (T, B)"),
    ):
        slug = "batch-major" if there.startswith("(B") else "time-major"
        yield make_fault(
            f"{slug}-reshaped-both-ways", "batch",
            "Input and result are reshaped between (B, T) and (T, B) where they must be transposed.",
            x_batch=there, h_batch=back, c_batch=back,
        )  # fmt: skip
    for value in FEATURE_RULES:
        if value != "given":
            yield make_fault(
                f"x-features-{value.replace(' ', '-')}", "batch", f"The features of x are taken wrongly: {value}.",
                "Feed x as it is given.", x_features=value,
            )  # fmt: skip


def returned_faults() -> Iterator[Fault]:
    """Another array returned in the place of h or c."""
    words = {
        "c": "the cell state c", "h": "the hidden state h", "u": "tanh(c) without the output gate", "i": "the gate i",
        "f": "the gate f", "g": "the candidate g", "o": "the gate o", "h before": "the h that the step was fed",
        "c before": "the c that the step was fed", "zero": "zero", "tanh(h)": "tanh(h)", "tanh(c)": "tanh(c)",
        "h0": "the initial h0", "c0": "the initial c0",
    }  # fmt: skip
    for state in "hc":
        for value, text in words.items():
            if value == state or (state == "h" and value == "tanh(c)"):
                continue
            slug = value.replace(" ", "-").replace("(", "-").replace(")", "")
            yield make_fault(
                f"{state}-returned-as-{slug}", "returned", f"{text[0].upper()}{text[1:]} is returned for {state}.",
                **{f"{state}_returned": value},
            )  # fmt: skip
    yield make_fault(
        "h-and-c-returned-exchanged", "returned", "h_seq and c_seq are returned in each other's place.",
        "Return (h_seq, c_seq), in this order.", h_returned="c", c_returned="h",
    )  # fmt: skip
    yield make_fault(
        "state-returned-before-step", "returned", "h and c before each step are returned, not those after it.",
        h_returned="h before", c_returned="c before",
    )  # fmt: skip


def padding_faults() -> Iterator[Fault]:
    """Ends of sequences taken wrongly."""
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
            yield make_fault(
                f"padding-{value.replace(',', '').replace(' ', '-')}", "padding",
                f"{words[value][0].upper()}{words[value][1:]}.", padding=value,
            )  # fmt: skip
    for value in LENGTH_RULES:
        if value != "given":
            yield make_fault(
                f"lengths-{value.replace(',', '').replace(' ', '-')}", "padding",
                f"The lengths of the sequences are taken wrongly: {value}.",
                "Use each sequence's own length, in the order of the batch.", lengths=value,
            )  # fmt: skip
