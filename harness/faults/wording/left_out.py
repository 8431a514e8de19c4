"""Features of a case that an implementation computes without, by the deviations that leave them out.

What a runtime does not know it should refuse. Where it takes a setting and ignores it, it gives what it would give had
the setting not been there: that is worth saying in these words, whatever the mistake is called.
"""

from __future__ import annotations

from lockstep.harness.faults.deviation import FORWARD, Deviation

_ACTIVATIONS = "other activations than sigmoid and tanh"
_LEFT_OUT: dict[tuple[str, str], str] = {
    ("clip", "none"): "the cell clip",
    ("p", "left out"): "peepholes",
    ("h", "m"): "the projection",
    ("lengths", "ignored"): "lengths",
    ("mask", "not"): "lengths",
    ("resets", "ignored"): "resets",
    ("coupling of f", "not coupled"): "coupled gates (input_forget)",
    ("curve of gates", "sigmoid"): "the activation of the gates",
    ("curve of g", "tanh"): "the activation of the candidate",
    ("curve of u", "tanh"): "the activation of c",
    ("curve of g and u", "tanh"): _ACTIVATIONS,
    ("every curve", "tanh"): _ACTIVATIONS,
    ("turn", "not"): "the reverse direction",
    **{(f"{all_of}{states}", "zero"): words for all_of in ("", "all ") for states, words in (
        ("h0 and c0", "the initial state"), ("h0", "the initial h"), ("c0", "the initial c"),
    )},
}  # fmt: skip


def left_out(deviation: Deviation) -> str:
    """The feature that a deviation leaves out, in words; nothing if it does something else."""
    return _LEFT_OUT.get((deviation.site, deviation.edit), "") if deviation.way == FORWARD else ""
