"""The table of an anatomy: one row for each convention, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct

from lockstep.harness.cases.gates import GATES
from lockstep.harness.diagnosis.anatomy.black_box import Reach
from lockstep.harness.diagnosis.anatomy.curves import CURVE_TOLERANCE, Reading, Response, describe_curve, sparkline
from lockstep.harness.diagnosis.anatomy.kernels import KernelMap, is_regular, misplaced_entries
from lockstep.harness.diagnosis.anatomy.precision import KeptBits
from lockstep.harness.diagnosis.anatomy.wiring import Wiring
from lockstep.harness.diagnosis.seen import Cause
from lockstep.harness.faults.deviation import Deviation
from lockstep.harness.faults.table import RESET
from lockstep.harness.faults.wording.families import ACROSS_SEQUENCES, family_of
from lockstep.harness.faults.wording.words import Words
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
    """Rows of the table from proved deviations and from what the experiments saw."""

    def __init__(self, cause: Cause | None, *, sigma: float | None, seen: Cause | None = None) -> None:
        """A table of what is proved to that many sigma; where nothing is, of what was ``seen`` in one timestep."""
        self.known = cause is not None
        self.seen = self.known or seen is not None
        self.cause = (cause if cause is not None else seen) or ()
        self.proof = f"proof: {number(sigma)} sigma" if self.known and sigma is not None else ""
        self.words = Words()

    def row(self, name: str, intended: str, sites: Iterable[str], evidence: str = "") -> Convention:
        """The row of some sites; it differs where a deviation is at one of them."""
        wanted = set(sites)
        return self._of(name, intended, [d for d in self.cause if d.site in wanted], evidence)

    def _of(self, name: str, intended: str, deviations: Sequence[Deviation], evidence: str = "") -> Convention:
        measured = "; ".join(self.words.message(deviation).removesuffix(".") for deviation in deviations)
        return self._convention(name, intended, measured or intended, evidence, differs=bool(deviations))

    def _convention(
        self, name: str, intended: str, measured: str, evidence: str, *, differs: bool, in_a_step: bool = False
    ) -> Convention:
        # Without a proof the intended value may only be what was never measured otherwise.
        if not self.known:
            measured = f"{measured} (not confirmed)" if differs or (in_a_step and self.seen) else "not decided"
        evidence = evidence or self.proof or "no reading reproduces it"
        return Convention(name, intended, measured, evidence, differs if self.known else None)

    def weights(self, kernel_map: KernelMap | None) -> Iterator[Convention]:
        """Order, layout and share of W, R and b."""
        for array, what in (("W", "x"), ("R", "h"), ("b", "1")):
            evidence = "" if kernel_map is None else _kernel_evidence(kernel_map, array)
            of_array = [d for d in self.cause if _is_of(d.site, array)]
            orders = [d for d in of_array if d.edit.startswith(("read as ", "block "))]
            read = next((d.edit.removeprefix("read as ") for d in orders if d.edit.startswith("read")), GATES)
            order = "; ".join([", ".join(read), *(d.edit for d in orders if d.edit.startswith("block"))])
            yield self._convention(
                f"gate order in {array}", "i, f, g, o", order, evidence, differs=bool(orders), in_a_step=True
            )
            name = f"{array} as it drives the gates from {what}"
            misplaced = "" if kernel_map is None or is_regular(kernel_map) else misplaced_entries(kernel_map, array)
            if misplaced:
                yield Convention(name, "as given", misplaced, evidence, differs=True)
                continue
            others = [d for d in of_array if d not in orders and not _is_constant(d)]
            yield self._of(name, "as given", others, evidence)
        sums = [d for d in self.cause if d.site in _SUMS and family_of(d) != "clip"]
        yield self._of("kernels", "W times x, R times h", sums)

    def curves(self, reading: tuple[Response, list[Reading]] | None) -> Iterator[Convention]:
        """Each activation, and the constants of each gate."""
        drawn = drawn_curves(reading)
        for gate in GATES:
            alike = ["all gates", *(["gates"] if gate != "g" else ["g and u"])]
            sites = [*(f"curve of {kind}" for kind in (gate, *alike)), "every curve", gate, "i, f, g and o"]
            intended = CURVES["tanh" if gate == "g" else "sigmoid"].words
            yield self.row(f"activation of {gate}", intended, sites, drawn.get(gate, ""))
        for gate in GATES:
            added = [d for d in self.cause if _is_constant(d) and d.site in {"b", f"b.{gate}"}]
            yield self._of(f"constant added to {gate}", "0", added)
        sites = ["curve of u", "curve of g and u", "every curve"]
        yield self.row("curve of the cell's output", CURVES["tanh"].words, sites, drawn.get("cell", ""))

    def cell(self) -> Iterator[Convention]:
        """The equations."""
        bounds_and_peepholes = [d for d in self.cause if family_of(d) == "clip"]
        clips = [d for d in bounds_and_peepholes if d.edit.startswith("clip ")]
        peepholes = [d for d in bounds_and_peepholes if d not in clips]
        equations = [d for d in self.cause if d not in bounds_and_peepholes]
        yield self._of("update of c", "c = f c + i g", [d for d in equations if d.site in _UPDATE_OF_C])
        yield self._of("update of h", "h = o tanh(c)", [d for d in equations if d.site in _UPDATE_OF_H])
        yield self._of("clips", "none", clips)
        yield self._of("peepholes", "none", peepholes)

    def state(self, wiring: Wiring) -> Iterator[Convention]:
        """Which state goes where."""
        yield self.row("initial h", "h0", ["h0", "h0 and c0"], wiring.h0)
        yield self.row("initial c", "c0", ["c0", "h0 and c0"], wiring.c0)
        resets = [d for d in self.cause if d.scope.steps and d.site in RESET]
        for name in "hc":
            sites = {f"{name}_in", f"{name}.carry", "h_in and c_in", "h.carry and c.carry"}
            carried = [d for d in self.cause if d.site in sites and d not in resets]
            yield self._of(f"{name} that reaches the next step", "previous", carried, getattr(wiring, name))
        yield self._of("resets of the state", "none", resets)

    def data(self, wiring: Wiring) -> Iterator[Convention]:
        """Time, batch and features of the input."""
        taken = [d for d in self.cause if d.site in {"x", "x.seq", "order of the run"}]
        time = [d for d in taken if family_of(d) == "time"]
        batch = [d for d in taken if d not in time and d.edit in ACROSS_SEQUENCES]
        yield self._of("input over time", "x[t] into step t", time, wiring.time)
        yield self._of("input over the batch", "sequences apart", batch, wiring.batch)
        features = [d for d in taken if d not in time and d not in batch]
        yield self._of("features of the input", "as given", features)

    def padding(self, wiring: Wiring) -> Iterator[Convention]:
        """The end of a sequence."""
        name = "past the end of a sequence"
        if wiring.padding is None:
            yield Convention(name, "h is 0, c is kept", "takes no lengths", "it was not asked", None)
            return
        lengths = [d for d in self.cause if d.site.startswith("lengths")]
        ignored = [d for d in lengths if d.edit == "ignored"]
        past = [*(d for d in self.cause if d.site == name.removesuffix(" of a sequence")), *ignored]
        yield self._of(name, "h is 0, c is kept", past, wiring.padding)
        yield self._of("lengths", "each sequence's own", [d for d in lengths if d not in ignored])

    def returned(self) -> Iterator[Convention]:
        """What is handed back."""
        for state in "hc":
            both = ["h.seq and c.seq", "h.out and c.out", "returned", "c.out and h.out of the step before"]
            sites = [f"{state}.out", f"{state}.seq", *both]
            yield self.row(f"returned as {state}_seq", f"{state} of every step", sites)


_SUMS = frozenset({"[W R]", "Wx", "Rh", "z", *(f"z.{gate}" for gate in GATES)})
_UPDATE_OF_C = frozenset({
    "keep.f", "keep.c", "add.i", "add.g", "coupling of f", "equation of c", "c", "raw", "i and f left out",
})  # fmt: skip
_UPDATE_OF_H = frozenset({"tanh.c", "out.o", "out.u", "equation of h", "u", "m", "h"})


def _is_of(site: str, array: str) -> bool:
    """Whether a site is an array, or a group or block with it."""
    group = site.partition(".")[0]
    return array in group and set(group) <= set("WRb")


def _is_constant(deviation: Deviation) -> bool:
    """Whether a number is added to the bias."""
    added = deviation.edit.startswith(("plus ", "minus ", "forget bias"))
    return added and deviation.site.partition(".")[0] == "b"


def _kernel_evidence(measured: KernelMap, array: str) -> str:
    entries = {key: drives for key, drives in measured.entries.items() if key[0] == array}
    driving = sum(bool(drives) for drives in entries.values())
    text = f"{driving} of {len(entries)} entries drive a gate"
    if measured.undecided:
        return f"{text}; {measured.undecided} effects fit nothing"
    return text if is_regular(measured) else f"{text}, by no known rule"


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
    curves = (
        ("f(z)", (c - response.c[-1.0]) / 2, sigmoid(z), ""),
        ("i(z) g(z)", response.c[0.0], sigmoid(z) * np.tanh(z), ": the curve of i, of g, or both"),
        (_QUOTIENT, o, sigmoid(z), ": the curve of o, or that of the cell's output"),
    )
    lines, odd = [], 0
    for name, curve, intended, readings in curves:
        # Where tanh(c) is as small as rounding, its quotient tells nothing.
        use = np.abs(np.tanh(c)) > SMALL if name == _QUOTIENT else np.ones(z.shape, bool)
        if np.abs(curve - intended)[use].max(initial=0) <= CURVE_TOLERANCE / SMALL:
            lines.append(f"measured: {name} is as intended")
        elif use.any():
            odd += 1
            lines.append(f"measured: {name} is {describe_curve(curve[use], z[use])}{readings}")
    return (
        [*lines, "all three differ: rather than the curves, W or x may be read otherwise"]
        if odd == len(curves)
        else lines
    )


def precision_rows(kept: list[KeptBits]) -> Iterator[Convention]:
    """The bits that each part keeps."""
    for part in kept:
        measured = "not decided" if part.bits is None else f"{part.bits} bits ({part.format})"
        differs = None if part.bits is None else part.bits < part.intended
        yield Convention(f"precision of {part.part}", f"{part.intended} bits", measured, part.evidence, differs)


# What one timestep does not show, and what final states do not.
_OVER_TIME = frozenset({
    "h that reaches the next step", "c that reaches the next step", "resets of the state", "input over time",
    "returned as h_seq", "returned as c_seq",
})  # fmt: skip
_OF_LENGTHS = frozenset({"past the end of a sequence", "lengths"})
NOT_ASKED = "not asked"


def as_asked(rows: Iterable[Convention], reach: Reach) -> Iterator[Convention]:
    """The rows, with those marked that no question was about."""
    unseen = (frozenset() if reach.over_time else _OVER_TIME) | (frozenset() if reach.lengths else _OF_LENGTHS)
    for row in rows:
        if row.name not in unseen or row.differs:
            yield row
        else:
            why = "one timestep alone can be asked" if row.name in _OVER_TIME else "final states do not show it"
            yield Convention(row.name, row.intended, NOT_ASKED, why, None)


def covered(row: Convention, sigma: float) -> Convention:
    """A row that no question was about, where the proof of the whole network is one."""
    if row.measured != NOT_ASKED:
        return row
    return Convention(row.name, row.intended, row.intended, f"proof of the whole: {number(sigma)} sigma", differs=False)


def repeatability_row(wiring: Wiring) -> Convention:
    """Whether one call changes the next."""
    repeatable = wiring.repeatable
    return Convention(
        "the same call twice", "the same numbers", "the same numbers" if repeatable else "other numbers",
        "asked twice, and again after another call", None if repeatable is None else not repeatable,
    )  # fmt: skip
