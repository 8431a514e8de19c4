"""Deviations inside a step and between steps: curves, the cell's equation, states, clips, precision."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.harness.cases.gates import GATES
from lockstep.harness.faults.fault import GATE_NAMES, Fault, make_fault
from lockstep.harness.faults.rules import CELLS, CHAINED, HIDDEN
from lockstep.harness.reference.curves import CURVES


def _slug(curve: str) -> str:
    return curve.replace("_", "-").replace("/", "-")


def activation_faults() -> Iterator[Fault]:
    """Activations replaced or approximated."""
    yield from _other_sigmoids()
    yield from _other_tanhs()
    for curve, tanh in (
        ("hard_sigmoid_0.2", "hard_tanh"), ("pade_sigmoid", "pade_tanh"), ("softsign_sigmoid", "softsign"),
        ("linear", "linear"), ("relu", "relu"),
    ):  # fmt: skip
        yield make_fault(
            f"every-curve-{_slug(tanh)}", "activation",
            f"Every activation is replaced: {CURVES[curve].words} in the gates, {CURVES[tanh].words} for tanh.",
            curves=(curve, curve, tanh, curve), cell_curve=tanh,
        )  # fmt: skip


def _other_sigmoids() -> Iterator[Fault]:
    for name, curve in CURVES.items():
        if name == "sigmoid":
            continue
        for gate in "ifo":
            curves = ["sigmoid", "sigmoid", "tanh", "sigmoid"]
            curves[GATES.index(gate)] = name
            yield make_fault(
                f"{gate}-{_slug(name)}", "activation",
                f"The {GATE_NAMES[gate]} {gate} has {curve.words} in the place of the sigmoid.", curves=tuple(curves),
            )  # fmt: skip
        yield make_fault(
            f"gates-{_slug(name)}", "activation",
            f"The gates i, f and o have {curve.words} in the place of the sigmoid.", curves=(name, name, "tanh", name),
        )  # fmt: skip
        if name != "tanh":
            yield make_fault(
                f"all-{_slug(name)}", "activation", f"All four gates have {curve.words} as their activation.",
                curves=(name, name, name, name),
            )  # fmt: skip


def _other_tanhs() -> Iterator[Fault]:
    for name, curve in CURVES.items():
        if name == "tanh":
            continue
        curves = ("sigmoid", "sigmoid", name, "sigmoid")
        alike = ": all four gates are alike" if name == "sigmoid" else ""
        yield make_fault(
            f"g-{_slug(name)}", "activation", f"The candidate g has {curve.words} in the place of tanh{alike}.",
            curves=curves,
        )  # fmt: skip
        yield make_fault(
            f"cell-{_slug(name)}", "activation", f"The cell's output has {curve.words} in the place of tanh.",
            cell_curve=name,
        )  # fmt: skip
        if name != "exp":  # exp of exp overflows at once
            yield make_fault(
                f"g-and-cell-{_slug(name)}", "activation",
                f"The candidate and the cell's output have {curve.words} for tanh.", curves=curves, cell_curve=name,
            )  # fmt: skip


def cell_faults() -> Iterator[Fault]:
    """Other equations of the cell."""
    names = {
        "(1 - i) c + i g": "cell-coupled-by-i", "f c + (1 - f) g": "cell-coupled-by-f", "f c + g": "cell-without-i",
        "c + i g": "cell-without-f", "c + g": "cell-without-gates", "i g": "cell-without-c", "f c": "cell-without-g",
        "f c + i": "cell-i-for-i-g", "f c - i g": "cell-difference", "f (c + i g)": "cell-f-times-all",
        "i (c + g)": "cell-i-times-all-without-f", "i (f c + g)": "cell-i-times-all", "f c i g": "cell-product",
        "f + c + i g": "cell-f-added", "f c + i + g": "cell-i-and-g-added", "(f + c) (i + g)": "cell-sums-multiplied",
        "(1 - f) c + i g": "cell-f-inverted", "f c + (1 - i) g": "cell-i-inverted",
        "(f c + i g) / 2": "cell-averaged", "f tanh(c) + i g": "cell-tanh-of-old-c",
        "tanh(f c + i g)": "cell-tanh-of-new-c", "f c + c + i g": "cell-old-c-added", "f c + i g + g": "cell-g-added",
        "max(f c, i g)": "cell-maximum",
    }  # fmt: skip
    for cell in CELLS:
        if cell != "f c + i g":
            name = names[cell]
            yield make_fault(name, "cell", f"The cell computes c = {cell} in the place of f c + i g.", cell=cell)
    names = {
        "tanh(c)": "hidden-without-o", "tanh(o c)": "hidden-o-inside-tanh", "o tanh(c before)": "hidden-of-old-c",
        "c": "hidden-is-c", "o": "hidden-is-o",
        "o + tanh(c)": "hidden-sum", "o c tanh(c)": "hidden-times-c", "tanh(o tanh(c))": "hidden-tanh-twice",
        "o o tanh(c)": "hidden-o-squared", "(1 - o) tanh(c)": "hidden-o-inverted", "-o tanh(c)": "hidden-negated",
    }  # fmt: skip
    for hidden in HIDDEN:
        if hidden != "o tanh(c)":
            name = names[hidden]
            yield make_fault(name, "cell", f"The step computes h = {hidden} in the place of o tanh(c).", hidden=hidden)


_SOURCE_WORDS = {
    "zero": ("not-carried", "{} is zero at every step"),
    "zero after the first": ("zero-after-first", "{} is zero from the second step on"),
    "two before": ("carried-late", "{} of two steps before is fed in the place of the last"),
    "three before": ("carried-two-late", "{} of three steps before is fed in the place of the last"),
    "first": ("frozen-after-first", "{} of the first step is fed at every later step"),
    "sum": ("summed", "{} of the last two steps is summed"),
    "average with the one before": ("averaged", "{} of the last two steps is averaged"),
    "negated": ("negated", "{} is fed with the opposite sign"),
    "tanh": ("through-tanh", "{} goes through tanh before it is fed"),
    "next sequence": ("of-next-sequence", "{} of the next sequence of the batch is fed"),
    "sequence before": ("of-sequence-before", "{} of the sequence before in the batch is fed"),
    "sequences reversed": ("of-reversed-batch", "{} is fed with the batch reversed"),
    "first sequence": ("of-first-sequence", "{} of the first sequence is fed to all"),
    "last sequence": ("of-last-sequence", "{} of the last sequence is fed to all"),
    "mean over sequences": ("mean-over-batch", "the mean of {} over the batch is fed to all"),
    "units reversed": ("units-reversed", "{} is fed with its units reversed"),
    "units rolled": ("units-rolled", "{} is fed shifted by one unit"),
}


def state_faults() -> Iterator[Fault]:
    """States that are not carried as they should be."""
    yield make_fault(
        "state-reset", "state",
        "The state is not carried: every step is fed the initial state (h and c) in the place of the last step's.",
        "Feed the state that a step returns into the next step.", h_source="initial", c_source="initial",
    )  # fmt: skip
    for which, words in (("h", "the hidden state h"), ("c", "the cell state c")):
        yield make_fault(
            f"{which}-reset", "state",
            f"{words[0].upper()}{words[1:]} is not carried: every step is fed the initial {which}.",
            f"Feed the {which} that a step returns into the next step.", **{f"{which}_source": "initial"},
        )  # fmt: skip
        for source, (slug, message) in _SOURCE_WORDS.items():
            text = message.format(words)
            yield make_fault(f"{which}-{slug}", "state", f"{text[0].upper()}{text[1:]}.", **{f"{which}_source": source})
    for source, (slug, message) in _SOURCE_WORDS.items():
        text = message.format("the whole state (h and c)")
        yield make_fault(f"state-{slug}", "state", f"{text[0].upper()}{text[1:]}.", h_source=source, c_source=source)
    for source, when in (("other", "at every step"), ("other after the first", "from the second step on")):
        slug = "" if source == "other" else "-after-first"
        yield make_fault(
            f"state-h-and-c-exchanged{slug}", "state", f"h and c are exchanged when they are fed, {when}.",
            "Keep the order of the pair: (h, c) or (c, h), the same on both sides.", h_source=source, c_source=source,
        )  # fmt: skip
        yield make_fault(f"h-taken-from-c{slug}", "state", f"c is fed in the place of h, {when}.", h_source=source)
        yield make_fault(f"c-taken-from-h{slug}", "state", f"h is fed in the place of c, {when}.", c_source=source)
    yield make_fault("h-fed-ungated", "state", "tanh(c) is fed back: h before the output gate.", h_source="ungated")
    for steps in (2, 3, 4, 5, 8, 10, 16):
        yield reset_every("hc", "zero", steps)
        yield reset_every("hc", "initial", steps)
    for part in RESET_PARTS:
        for target in RESET_TARGETS:
            yield reset_once(part, target, 2)


# What is reset, by the states that it is: its name in a fault's, the words for it, short and in full.
RESET_PARTS = {
    "hc": ("state", "The state", "The state"),
    "h": ("h", "h", "The hidden state h"),
    "c": ("c", "c", "The cell state c"),
}
RESET_TARGETS = {"zero": "zero", "initial": "the initial state"}


def reset_every(part: str, target: str, steps: int) -> Fault:
    """A state that is reset again and again, after so many steps."""
    name, words, _ = RESET_PARTS[part]
    how = "reset" if target == "zero" else target
    return make_fault(
        f"{name}-{how}-every-{steps}", "state", f"{words} is reset to {RESET_TARGETS[target]} every {steps} steps.",
        reset_every=steps, reset_what=part, reset_to=target,
    )  # fmt: skip


def reset_once(part: str, target: str, timestep: int) -> Fault:
    """A state that is reset before one timestep."""
    name, _, words = RESET_PARTS[part]
    return make_fault(
        f"{name}-reset-to-{target}-once", "state",
        f"{words} is reset to {RESET_TARGETS[target]} before timestep {timestep}.",
        f"Carry the state through timestep {timestep}.", reset_at=(timestep,), reset_what=part, reset_to=target,
    )  # fmt: skip


_INITIAL_WORDS = {
    "zero": ("ignored", "{} is ignored: the sequence starts from zero"),
    "one": ("ones", "{} is ignored: the sequence starts from ones"),
    "first sequence": ("of-first-sequence", "{} of the first sequence is given to all"),
    "last sequence": ("of-last-sequence", "{} of the last sequence is given to all"),
    "sequences reversed": ("of-reversed-batch", "{} is given to the batch in reverse"),
    "next sequence": ("of-next-sequence", "{} of the next sequence is given to each"),
    "sequence before": ("of-sequence-before", "{} of the sequence before is given to each"),
    "mean over sequences": ("mean-over-batch", "the mean of {} over the batch is given to all"),
    "only the first sequence": (
        "first-sequence-only",
        "{} is given to the first sequence only, the others start from zero",
    ),
    "reshaped": ("reshaped", "{} (B, H) is reshaped where it must be transposed"),
    "tanh": ("through-tanh", "{} goes through tanh"),
    "negated": ("negated", "{} enters with the opposite sign"),
    "doubled": ("doubled", "{} enters doubled"),
    CHAINED: ("chained", "{} is that of the first sequence only, each other one starts from the end of the one before"),
}


def initial_state_faults() -> Iterator[Fault]:
    """Other initial states."""
    for name, words, fields in (
        ("h0", "the initial h0", ("h0",)), ("c0", "the initial c0", ("c0",)),
        ("initial-state", "the initial state (h0 and c0)", ("h0", "c0")),
    ):  # fmt: skip
        for value, (slug, message) in _INITIAL_WORDS.items():
            text = message.format(words)
            yield make_fault(
                f"{name}-{slug}", "initial state", f"{text[0].upper()}{text[1:]}.", **dict.fromkeys(fields, value)
            )
    yield make_fault(
        "h0-and-c0-exchanged", "initial state", "h0 and c0 are exchanged.",
        "Give h0 as the hidden and c0 as the cell state.", h0="exchanged", c0="exchanged",
    )  # fmt: skip
    yield make_fault("h0-taken-from-c0", "initial state", "c0 is given for both h0 and c0.", h0="exchanged")
    yield make_fault("c0-taken-from-h0", "initial state", "h0 is given for both h0 and c0.", c0="exchanged")
    yield make_fault("h0-plus-c0", "initial state", "h0 starts as h0 + c0.", h0="sum")
    yield make_fault("c0-plus-h0", "initial state", "c0 starts as h0 + c0.", c0="sum")


def clip_faults() -> Iterator[Fault]:
    """Clips, and peepholes, that nobody asked for."""
    for value in (0.5, 1.0):
        yield make_fault(f"c-clipped-at-{value:g}", "clip", f"c is clipped to ±{value:g}.", c_clip=value)
        yield make_fault(
            f"z-clipped-at-{value:g}", "clip", f"The pre-activations are clipped to ±{value:g}.", z_clip=value
        )
    yield make_fault("h-clipped-at-0.5", "clip", "h is clipped to ±0.5.", h_clip=0.5)
    for k, gate in enumerate("ifo"):
        weights = tuple(1.0 if j == k else 0.0 for j in range(3))
        which = "new" if gate == "o" else "old"
        yield make_fault(
            f"peephole-{gate}", "clip", f"The {which} c is added to the {GATE_NAMES[gate]} {gate}: a peephole.",
            peephole=weights,
        )  # fmt: skip
    yield make_fault(
        "peephole-o-of-old-c", "clip", "The old c is added to the output gate o: a peephole that must see the new one.",
        peephole_old=1.0,
    )  # fmt: skip
    yield make_fault(
        "peepholes", "clip", "c is added to the gates i, f and o: peepholes with weight 1.", peephole=(1.0,) * 3
    )


_ROUNDS_OPERANDS = {"float16": "float16 autocast", "bfloat16": "bfloat16 autocast", "tf32": "TF32 on a GPU"}


def precision_faults() -> Iterator[Fault]:
    """Numbers held in a shorter format."""
    places = {
        "weights": ("The weights are", "WRb"), "W": ("W is", "W"), "R": ("R is", "R"), "b": ("b is", "b"),
        "kernels": ("W and R are, but b is not,", "WR"), "x": ("The input x is", "x"),
        "h": ("The hidden state h is", "h"), "c": ("The cell state c is", "c"), "z": ("The pre-activations are", "z"),
        "gates": ("The activated gates are", ""), "returned": ("What is returned is", ""),
    }  # fmt: skip
    for name in ("float16", "bfloat16", "tf32", "float32"):
        for place, (words, parts) in places.items():
            if place in {"returned", "c", "gates", "z"} and name == "tf32":
                continue  # tf32 is a format of operands only
            if place == "returned" and name == "float32":
                continue  # a float64 case's results must come as float64
            fields = [f"{part}_format" for part in parts or [place]]
            where = "In a float64 case: " if name == "float32" else ""
            yield make_fault(
                f"{place}-in-{name}", "precision", f"{where}{words} rounded to {name}.", **dict.fromkeys(fields, name)
            )
        if name != "float32":
            yield make_fault(
                f"operands-in-{name}", "precision",
                f"The operands of the products, W, R, x and h, are rounded to {name}: {_ROUNDS_OPERANDS[name]}.",
                operands_format=name,
            )  # fmt: skip


def scale_faults() -> Iterator[Fault]:
    """Numbers scaled."""
    for value, words in ((0.5, "halved"), (2.0, "doubled")):
        yield make_fault(f"x-{words}", "scale", f"The input x is {words}.", x_gain=value)
        yield make_fault(
            f"h-{words}-when-fed", "scale", f"h is {words} when it is fed to a step, the first included.", h_keep=value
        )
        yield make_fault(
            f"c-{words}-when-fed", "scale", f"c is {words} when it is fed to a step, the first included.", c_keep=value
        )
        yield make_fault(f"h-{words}-when-returned", "scale", f"h is {words} when it is returned.", h_gain=value)
        for k, gate in enumerate(GATES):
            gain = tuple(value if j == k else 1.0 for j in range(4))
            yield make_fault(
                f"{gate}-{words}", "scale", f"The {GATE_NAMES[gate]} {gate} is {words} after its activation.", gain=gain
            )
