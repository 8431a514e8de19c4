"""The table of an anatomy: one row for each convention, with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from lockstep.harness.cases.gates import GATES
from lockstep.harness.diagnosis.anatomy.curves import CURVE_TOLERANCE, Reading, Response, describe_curve, sparkline
from lockstep.harness.diagnosis.anatomy.kernels import KernelMap, is_regular, misplaced_entries
from lockstep.harness.diagnosis.anatomy.precision import KeptBits
from lockstep.harness.diagnosis.anatomy.wiring import Wiring
from lockstep.harness.faults.execution import AS_INTENDED, Execution
from lockstep.harness.reference.curves import CURVES, sigmoid
from lockstep.harness.text import number

SMALL = 1e-2  # a tanh(c) below this tells nothing of what it is multiplied by


class Convention(Struct, frozen=True):
    """One row of the table: what is asked, what a canonical LSTM does, what was measured, and how that is known."""

    name: str
    intended: str
    measured: str
    evidence: str
    differs: bool | None  # None: could not be decided


class ConventionTable:
    """Rows of the table from a measured execution and from what the experiments saw."""

    def __init__(self, execution: Execution | None, *, sigma: float | None) -> None:
        """A table of the execution that is proved to that many sigma; of nothing proved if it is None."""
        self.execution = execution or AS_INTENDED
        self.known = execution is not None
        self.proof = f"proof: {number(sigma)} sigma" if self.known and sigma is not None else ""

    def row(self, name: str, intended: str, measured: str, evidence: str = "", *fields: str) -> Convention:
        """The row of some fields of the execution; it differs where one of them does."""
        differs = any(getattr(self.execution, field) != getattr(AS_INTENDED, field) for field in fields)
        return self._convention(name, intended, measured, evidence, differs=differs)

    def _convention(self, name: str, intended: str, measured: str, evidence: str, *, differs: bool) -> Convention:
        # Without a proof the intended value may only be what was never measured otherwise.
        if not self.known:
            measured = f"{measured} (not confirmed)" if differs else "not decided"
        evidence = evidence or self.proof or "no reading reproduces it"
        return Convention(name, intended, measured, evidence, differs if self.known else None)

    def weights(self, kernel_map: KernelMap | None) -> Iterator[Convention]:
        """Order, layout and share of W, R and b."""
        e = self.execution
        for array, what in (("W", "x"), ("R", "h"), ("b", "1")):
            order = getattr(e, f"{array}_gates")
            evidence = "" if kernel_map is None else _kernel_evidence(kernel_map, array)
            yield self.row(f"gate order in {array}", "i, f, g, o", ", ".join(order), evidence, f"{array}_gates")
            misplaced = "" if kernel_map is None or is_regular(kernel_map) else misplaced_entries(kernel_map, array)
            if misplaced:
                yield Convention(
                    f"{array} as it drives the gates from {what}", "as given", misplaced, evidence, differs=True
                )
                continue
            layout, gain = getattr(e, f"{array}_layout"), getattr(e, f"{array}_gain")
            part = getattr(e, f"{array}_part", "all")
            words = [layout] if layout != "given" else []
            words += [f"only {part}"] if part != "all" else []
            words += [f"times {_gains_words(gain)}"] if gain != AS_INTENDED.W_gain else []
            yield self.row(
                f"{array} as it drives the gates from {what}", "as given", "; ".join(words) or "as given", evidence,
                f"{array}_layout", f"{array}_gain", *([f"{array}_part"] if array != "b" else []),
            )  # fmt: skip
        kernels = _rule_words(e.kernels, "W times x, R times h", plain="[x, h]")
        yield self.row("kernels", "W times x, R times h", kernels, "", "kernels")

    def curves(self, reading: tuple[Response, list[Reading]] | None) -> Iterator[Convention]:
        """Each activation, and the constants of each gate."""
        e = self.execution
        drawn = drawn_curves(reading)
        for k, gate in enumerate(GATES):
            words = CURVES[e.curves[k]].words
            if e.gain[k] != 1 or e.offset[k]:
                words = f"{e.gain[k]:g} times {words} + {e.offset[k]:g}"
            intended = CURVES[AS_INTENDED.curves[k]].words
            differs = (e.curves[k], e.gain[k], e.offset[k]) != (AS_INTENDED.curves[k], 1.0, 0.0)
            yield self._convention(f"activation of {gate}", intended, words, drawn.get(gate, ""), differs=differs)
        for k, gate in enumerate(GATES):
            added = e.constant[k] + ((e.forget_bias - 1.0) if gate == "f" else 0.0)
            yield self._convention(
                f"constant added to {gate}", "0", f"{added:g}", self.proof, differs=bool(added),
            )  # fmt: skip
        yield self.row(
            "curve of the cell's output", "tanh", CURVES[e.cell_curve].words, drawn.get("cell", ""), "cell_curve"
        )

    def cell(self) -> Iterator[Convention]:
        """The equations."""
        e = self.execution
        yield self.row("update of c", "c = f c + i g", f"c = {e.cell}", "", "cell")
        yield self.row("update of h", "h = o tanh(c)", f"h = {e.hidden}", "", "hidden")
        clips = [
            f"{name} at ±{value:g}"
            for name, value in (("z", e.z_clip), ("c", e.c_clip), ("h", e.h_clip))
            if value < np.inf
        ]
        yield self.row("clips", "none", ", ".join(clips) or "none", "", "z_clip", "c_clip", "h_clip")
        peeps = [f"{w:g} c to {gate}" for w, gate in zip(e.peephole, "ifo", strict=True) if w]
        yield self.row("peepholes", "none", ", ".join(peeps) or "none", "", "peephole")

    def state(self, wiring: Wiring) -> Iterator[Convention]:
        """Which state goes where."""
        e = self.execution
        yield self.row("initial h", "h0", _rule_words(e.h0, "h0"), wiring.h0, "h0")
        yield self.row("initial c", "c0", _rule_words(e.c0, "c0"), wiring.c0, "c0")
        for name in "hc":
            source, keep = getattr(e, f"{name}_source"), getattr(e, f"{name}_keep")
            words = ("" if keep == 1 else f"{keep:g} times ") + source
            yield self.row(
                f"{name} that reaches the next step",
                "previous",
                words,
                getattr(wiring, name),
                f"{name}_source",
                f"{name}_keep",
            )
        resets = [f"before timestep {t}" for t in e.reset_at] + (
            [f"every {e.reset_every} steps"] if e.reset_every else []
        )
        yield self.row("resets of the state", "none", ", ".join(resets) or "none", "", "reset_at", "reset_every")

    def data(self, wiring: Wiring) -> Iterator[Convention]:
        """Time, batch and features of the input."""
        e = self.execution
        time, batch = _rule_words(e.x_time, "x[t] into step t"), _rule_words(e.x_batch, "sequences apart")
        yield self.row("input over time", "x[t] into step t", time, wiring.time, "x_time")
        yield self.row("input over the batch", "sequences apart", batch, wiring.batch, "x_batch")
        words = _rule_words(e.x_features, "as given") + ("" if e.x_gain == 1 else f", times {e.x_gain:g}")
        yield self.row("features of the input", "as given", words, "", "x_features", "x_gain")

    def padding(self, wiring: Wiring) -> Iterator[Convention]:
        """The end of a sequence."""
        e = self.execution
        if wiring.padding is None:
            yield Convention(
                "past the end of a sequence", "h is 0, c is kept", "takes no lengths", "it was not asked", None
            )
            return
        measured = "h is 0, c is kept" if e.padding == "masked" else e.padding
        yield self.row("past the end of a sequence", "h is 0, c is kept", measured, wiring.padding, "padding")
        lengths = _rule_words(e.lengths, "each sequence's own")
        yield self.row("lengths", "each sequence's own", lengths, "", "lengths")

    def returned(self) -> Iterator[Convention]:
        """What is handed back."""
        e = self.execution
        for state in "hc":
            what, order, batch = (getattr(e, f"{state}_{name}") for name in ("returned", "order", "batch"))
            words = [f"{what} of every step"] + [rule for rule in (order, batch) if rule != "given"]
            if state == "h" and e.h_gain != 1:
                words.append(f"times {e.h_gain:g}")
            fields = [f"{state}_returned", f"{state}_order", f"{state}_batch", *(["h_gain"] if state == "h" else [])]
            yield self.row(f"returned as {state}_seq", f"{state} of every step", ", ".join(words), "", *fields)


def _kernel_evidence(measured: KernelMap, array: str) -> str:
    entries = {key: drives for key, drives in measured.entries.items() if key[0] == array}
    driving = sum(bool(drives) for drives in entries.values())
    text = f"{driving} of {len(entries)} entries drive a gate"
    if measured.undecided:
        return f"{text}; {measured.undecided} effects fit nothing"
    return text if is_regular(measured) else f"{text}, by no known rule"


def _rule_words(rule: str, words: str, plain: str = "given") -> str:
    """The name of a rule; of the plain one, what it comes to."""
    return words if rule == plain else rule


def _gains_words(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) if len(set(values)) > 1 else f"{values[0]:g}"


def drawn_curves(reading: tuple[Response, list[Reading]] | None) -> dict[str, str]:
    """What was seen of the curve of each gate and of the cell, as a line of blocks with words."""
    if reading is None:
        return {}
    response, readings = reading
    f = (response.c[1.0] - response.c[-1.0]) / 2
    product = response.c[0.0]
    words = {"f": f, "i": product, "g": product, "o": response.h[1.0]}
    names = {"f": "f(z)", "i": "i(z) g(z)", "g": "i(z) g(z)", "o": "h(z)"}
    return {
        gate: f"{names[gate]} {sparkline(curve)}" + (f", {describe_curve(curve, response.z)}" if not readings else "")
        for gate, curve in words.items()
    } | {"cell": f"h(c0) {sparkline(response.sweep_h)}"}


_QUOTIENT = "h / tanh(c)"


def described_curves(response: Response) -> list[str]:
    """What a response shows of each curve, in words; all that it leaves open where it shows several in one number."""
    z, c, h = response.z, response.c[1.0], response.h[1.0]
    with np.errstate(all="ignore"):
        o = h / np.tanh(c)
    seen = (
        ("f(z)", (c - response.c[-1.0]) / 2, sigmoid(z), ""),
        ("i(z) g(z)", response.c[0.0], sigmoid(z) * np.tanh(z), ": the curve of i, of g, or both"),
        (_QUOTIENT, o, sigmoid(z), ": the curve of o, or that of the cell's output"),
    )
    lines, odd = [], 0
    for name, curve, intended, readings in seen:
        # Where tanh(c) is as small as rounding, its quotient tells nothing.
        use = np.abs(np.tanh(c)) > SMALL if name == _QUOTIENT else np.ones(z.shape, bool)
        if np.abs(curve - intended)[use].max(initial=0) <= CURVE_TOLERANCE / SMALL:
            lines.append(f"measured: {name} is as intended")
        elif use.any():
            odd += 1
            lines.append(f"measured: {name} is {describe_curve(curve[use], z[use])}{readings}")
    return (
        [*lines, "all three differ: rather than the curves, W or x may be read otherwise"]
        if odd == len(seen)
        else lines
    )


def precision_rows(kept: list[KeptBits]) -> Iterator[Convention]:
    """The bits that each part keeps."""
    for part in kept:
        measured = "not decided" if part.bits is None else f"{part.bits} bits ({part.format})"
        differs = None if part.bits is None else part.bits < part.intended
        yield Convention(f"precision of {part.part}", f"{part.intended} bits", measured, part.evidence, differs)


def repeatability_row(wiring: Wiring) -> Convention:
    """Whether one call changes the next."""
    repeatable = wiring.repeatable
    return Convention(
        "the same call twice", "the same numbers", "the same numbers" if repeatable else "other numbers",
        "asked twice, and again after another call", None if repeatable is None else not repeatable,
    )  # fmt: skip
