"""Deviations with a number in them, and how the number is found from what was returned.

A knob turns one number of an execution; at its neutral value the execution is canonical.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from msgspec import Struct

from lockstep.harness.faults.execution import NONE, ONCE, Changes
from lockstep.harness.faults.fault import FAMILIES, Fault, of_gate


class Knob(Struct, frozen=True):
    """One number that an implementation may have got otherwise."""

    name: str
    family: str
    message: str  # with {} for the number
    neutral: float
    starts: tuple[float, ...]
    set: Callable[[float], Changes]

    def fault(self, value: float) -> Fault:
        """The fault that a value of the number is."""
        message = self.message.format(shown(value))
        return Fault(self.name, self.family, message, self._fix(), self.set(value))

    def _fix(self) -> str:
        """How to mend it: the family's fix, unless the number alone is what is wrong."""
        if self.name.startswith(("constant-added", "offset-added")) and self.family != "forget bias":
            return "Remove what is added."
        if "scaled" in self.name or "mixed" in self.name:
            return "Remove the factor."
        return FAMILIES[self.family].fix


_GATE_WORDS = {"i": "input gate i", "f": "forget gate f", "g": "candidate g", "o": "output gate o"}
_AROUND_0 = (1.0, -1.0, 0.1)
_AROUND_1 = (1.1, 2.0, 0.5, -1.0)
_BOUNDS = (0.1, 0.3, 1.0, 3.0)


def shown(value: float) -> str:
    """Write a number as one would say it: 0.1, 1/3, 2."""
    return f"{value:.7g}"


def knobs() -> list[Knob]:
    """Every knob."""
    return [*_constants(), *_gains(), *_scales(), *_bounds()]


def _constants() -> Iterator[Knob]:
    for gate, words in _GATE_WORDS.items():
        yield Knob(
            f"constant-added-to-{gate}", "forget bias" if gate == "f" else "bias",
            f"A constant {{}} is added to the {words} before its activation.", 0.0, _AROUND_0,
            lambda v, gate=gate: {"constant": of_gate(gate, v, NONE)},
        )  # fmt: skip
    for gate, words in _GATE_WORDS.items():
        yield Knob(
            f"offset-added-to-{gate}", "activation", f"{{}} is added to the {words} after its activation.", 0.0,
            _AROUND_0, lambda v, gate=gate: {"offset": of_gate(gate, v, NONE)},
        )  # fmt: skip
    yield Knob(
        "constant-added-to-all-gates", "bias", "A constant {} is added to every gate before its activation.", 0.0,
        _AROUND_0, lambda v: {"constant": (v, v, v, v)},
    )  # fmt: skip


def _gains() -> Iterator[Knob]:
    for array in "bWR":
        what = {"b": "bias", "W": "product of W", "R": "product of R"}[array]
        family = "bias" if array == "b" else "kernel"
        yield Knob(
            f"{array}-scaled", family, f"The {what} enters every gate {{}} times.", 1.0, (*_AROUND_1, 0.0),
            lambda v, array=array: {f"{array}_gain": (v, v, v, v)},
        )  # fmt: skip
        for gate, words in _GATE_WORDS.items():
            yield Knob(
                f"{array}-scaled-{gate}", family, f"The {what} enters the {words} {{}} times.", 1.0, (*_AROUND_1, 0.0),
                lambda v, gate=gate, array=array: {f"{array}_gain": of_gate(gate, v, ONCE)},
            )  # fmt: skip
    yield Knob(
        "kernels-scaled", "kernel", "The products of W and R enter {} times.", 1.0, _AROUND_1,
        lambda v: {"W_gain": (v,) * 4, "R_gain": (v,) * 4},
    )  # fmt: skip
    yield Knob(
        "pre-activations-scaled", "kernel", "The pre-activations of all gates are {} times what they must be.", 1.0,
        _AROUND_1, lambda v: {"W_gain": (v,) * 4, "R_gain": (v,) * 4, "b_gain": (v,) * 4},
    )  # fmt: skip
    yield Knob(
        "sigmoids-scaled", "activation", "The sigmoids of i, f and o take {} times their argument.", 1.0, _AROUND_1,
        lambda v: {f"{array}_gain": (v, v, 1.0, v) for array in "WRb"},
    )  # fmt: skip
    for gate, words in _GATE_WORDS.items():
        yield Knob(
            f"pre-activation-scaled-{gate}", "kernel",
            f"The pre-activation of the {words} is {{}} times what it must be.", 1.0, _AROUND_1,
            lambda v, gate=gate: {f"{array}_gain": of_gate(gate, v, ONCE) for array in "WRb"},
        )  # fmt: skip
        yield Knob(
            f"gate-scaled-{gate}", "scale", f"The {words} is {{}} times what it must be, after its activation.", 1.0,
            _AROUND_1, lambda v, gate=gate: {"gain": of_gate(gate, v, ONCE)},
        )  # fmt: skip
    for which, words in (("first", "input bias (bias_ih)"), ("second", "recurrent bias (bias_hh)")):
        yield Knob(
            f"bias-{which}-of-two-scaled", "bias", f"The {words} is added {{}} times.", 1.0, (*_AROUND_1, 0.0),
            lambda v, which=which: {f"{which}_bias_gain": v},
        )  # fmt: skip


def _scales() -> Iterator[Knob]:
    for field, name, words in (
        ("x_gain", "x-scaled", "The input x enters {} times."),
        ("h_keep", "h-scaled-when-fed", "h is fed to the next step {} times."),
        ("c_keep", "c-scaled-when-fed", "c is fed to the next step {} times."),
        ("h_gain", "h-scaled-when-returned", "h is returned {} times."),
    ):
        yield Knob(name, "scale", words, 1.0, (*_AROUND_1, 0.9), lambda v, field=field: {field: v})
    for fields, name, words in (
        (("h_mix", "c_mix"), "state-mixed-with-the-old", "h and c keep {} of their old values at every step."),
        (("c_mix",), "c-mixed-with-the-old", "c keeps {} of its old value at every step."),
        (("h_mix",), "h-mixed-with-the-old", "h keeps {} of its old value at every step."),
    ):
        yield Knob(name, "cell", words, 0.0, (0.1, 0.5), lambda v, fields=fields: dict.fromkeys(fields, v))
    yield Knob(
        "state-scaled-when-fed", "scale", "h and c are fed to the next step {} times.", 1.0, (0.9, 0.5, 1.1),
        lambda v: {"h_keep": v, "c_keep": v},
    )  # fmt: skip


def _bounds() -> Iterator[Knob]:
    for field, name, words in (
        ("c_clip", "c-clipped", "c is clipped to ±{}."),
        ("c_clip_late", "c-clipped-late", "c is clipped to ±{} as it is carried and returned, after h is made of it."),
        ("h_clip", "h-clipped", "h is clipped to ±{}."),
        ("z_clip", "pre-activations-clipped", "The pre-activations are clipped to ±{}."),
    ):
        yield Knob(name, "clip", words, math.inf, _BOUNDS, lambda v, field=field: {field: abs(v)})
    for k, gate in enumerate("ifo"):
        yield Knob(
            f"peephole-of-{gate}", "clip", f"{{}} c is added to the {_GATE_WORDS[gate]}: a peephole.", 0.0, _AROUND_0,
            lambda v, k=k: {"peephole": tuple(v if j == k else 0.0 for j in range(3))},
        )  # fmt: skip
    yield Knob(
        "peephole-of-o-from-old-c", "clip", "{} times the old c is added to the output gate o: a peephole.", 0.0,
        _AROUND_0, lambda v: {"peephole_old": v},
    )  # fmt: skip
    yield Knob(
        "peephole-of-all", "clip", "{} c is added to the gates i, f and o: peepholes.", 0.0, _AROUND_0,
        lambda v: {"peephole": (v, v, v)},
    )  # fmt: skip
