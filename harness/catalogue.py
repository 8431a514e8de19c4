"""The catalogue: every named fault, family by family, made from the tables of ``harness.rules`` and their words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations
from typing import Any

from lockstep.harness.execution import CANONICAL, GATES, NONE, ONCE
from lockstep.harness.faults import FAMILIES, Fault, of_gate
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.rules import BATCHES, CELLS, CHAINED, FEATURES, HIDDEN, LENGTHS, PADDING, PARTS, TIMES

_NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"}


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


def _fault(name: str, family: str, message: str, fix: str = "", **changes: Any) -> Fault:
    return Fault(name, family, message, fix or FAMILIES[family].fix, changes)


def _spaced(order: str) -> str:
    return ", ".join(order)


# In which of the stored arrays a deviation holds: name, words, fields' prefixes.
_WHERE = {
    "": ("", "WRb"),
    "-in-W": (" of W only", "W"),
    "-in-R": (" of R only", "R"),
    "-in-b": (" of b only", "b"),
    "-in-kernels": (" of W and R, but not of b", "WR"),
    "-in-W-and-b": (" of W and b, but not of R", "Wb"),
    "-in-R-and-b": (" of R and b, but not of W", "Rb"),
}


def _gate_order() -> Iterator[Fault]:
    known = {"igfo": "TF1's order", "iofg": "ONNX' order", "ifog": "Caffe's and Torch7's order"}
    exchanged = {_exchange(a, b): (a, b) for a, b in combinations(GATES, 2)}
    for letters in permutations(GATES):
        order = "".join(letters)
        if order == GATES:
            continue
        pair = exchanged.get(order)
        title = f"exchanged-{pair[0]}-{pair[1]}" if pair else f"read-{order}"
        for where, (words, arrays) in _WHERE.items():
            if where and not pair:
                continue
            what = (
                f"The blocks{words} for {pair[0]} and {pair[1]} are exchanged: the gates are read as {_spaced(order)}"
                if pair
                else f"The gates{words} are read as {_spaced(order)}"
            )
            origin = f" ({known[order]})" if order in known else ""
            yield _fault(
                f"gates-{title}{where}", "gate order", f"{what}{origin}, and stored as i, f, g, o.",
                **{f"{array}_gates": order for array in arrays},
            )  # fmt: skip


def _exchange(a: str, b: str) -> str:
    return GATES.translate(str.maketrans(a + b, b + a))


def _shared_blocks() -> Iterator[Fault]:
    """One gate reads the block of another: two gates then share their weights."""
    for gate, other in permutations(GATES, 2):
        blocks = GATES.replace(gate, other)
        for where in ("", "-in-W", "-in-R", "-in-b"):
            words, arrays = _WHERE[where]
            yield _fault(
                f"{gate}-reads-{other}{where}", "gate order",
                f"The {_NAMES[gate]} {gate} uses the block{words} of the {_NAMES[other]} {other}.",
                "Use each gate's own block of the kernels and the bias.",
                **{f"{array}_blocks": blocks for array in arrays},
            )  # fmt: skip


def _forget_bias() -> Iterator[Fault]:
    add, once = (
        "Add the forget bias to the forget gate before its sigmoid",
        "b holds the forget bias: do not add it again.",
    )
    for name, message, fix, times in (
        ("absent", "The forget bias, 1, is left out", f"{add} (with --layout tf1: 1.0, at run time).", -1.0),
        ("twice", "The forget bias, 1, is added twice", once, 1.0),
        ("subtracted", "The forget bias, 1, is subtracted instead of added", f"{add}: do not subtract it.", -2.0),
    ):
        yield _fault(f"forget-bias-{name}", "forget bias", f"{message}.", fix, constant=of_gate("f", times, NONE))
        yield _fault(
            f"forget-bias-of-the-case-{name}", "forget bias", f"{message.replace(', 1,', ' of the case')}.", fix,
            forget_bias=times + 1.0,
        )  # fmt: skip
    yield _fault(
        "forget-bias-after-sigmoid", "forget bias", "1 is added to the forget gate after its sigmoid.",
        offset=(0.0, 1.0, 0.0, 0.0),
    )  # fmt: skip
    yield _fault(
        "forget-bias-moved-after-sigmoid", "forget bias",
        "The forget bias 1 is added to the forget gate after its sigmoid instead of before it.",
        constant=(0.0, -1.0, 0.0, 0.0), offset=(0.0, 1.0, 0.0, 0.0),
    )  # fmt: skip
    for gate in "igo":
        yield _fault(
            f"forget-bias-on-{gate}", "forget bias",
            f"The forget bias 1 is added to the {_NAMES[gate]} {gate} instead of the forget gate f.",
            constant=of_gate(gate, 1.0, (0.0, -1.0, 0.0, 0.0)),
        )  # fmt: skip
        yield _fault(
            f"forget-bias-also-on-{gate}", "forget bias", f"1 is added to the {_NAMES[gate]} {gate} too.",
            "Only the forget gate has a forget bias.", constant=of_gate(gate, 1.0, NONE),
        )  # fmt: skip
    yield _fault(
        "forget-bias-on-all", "forget bias", "1 is added to every gate.", "Only the forget gate has a forget bias.",
        constant=(1.0, 1.0, 1.0, 1.0),
    )  # fmt: skip


def _bias() -> Iterator[Fault]:
    yield _fault("bias-dropped", "bias", "The bias is not added at all.", b_gain=(0.0,) * 4)
    yield _fault("bias-twice", "bias", "The bias is added twice.", b_gain=(2.0,) * 4)
    yield _fault("bias-halved", "bias", "Half the bias is added.", b_gain=(0.5,) * 4)
    yield _fault("bias-subtracted", "bias", "The bias is subtracted instead of added.", b_gain=(-1.0,) * 4)
    for gate, name in _NAMES.items():
        yield _fault(
            f"bias-dropped-{gate}", "bias", f"The bias of the {name} {gate} is not added.",
            b_gain=of_gate(gate, 0.0, ONCE),
        )  # fmt: skip
        yield _fault(
            f"bias-twice-{gate}", "bias", f"The bias of the {name} {gate} is added twice.",
            b_gain=of_gate(gate, 2.0, ONCE),
        )  # fmt: skip
        yield _fault(
            f"bias-only-{gate}", "bias", f"Only the {name} {gate} gets its bias.", b_gain=of_gate(gate, 1.0, NONE)
        )
    for kept, lost in (("first", "second"), ("second", "first")):
        title = {"first": "input", "second": "recurrent"}
        yield _fault(
            f"bias-{kept}-of-two-only", "bias",
            f"Of the two biases only the {title[kept]} one is added; the {title[lost]} one is left out.",
            "Add both: bias_ih + bias_hh.", **{f"{lost}_bias_gain": 0.0},
        )  # fmt: skip
        yield _fault(
            f"bias-{kept}-of-two-twice", "bias",
            f"Of the two biases the {title[kept]} one is added twice, and the {title[lost]} one not at all.",
            "Add both: bias_ih + bias_hh.", **{f"{kept}_bias_gain": 2.0, f"{lost}_bias_gain": 0.0},
        )  # fmt: skip
    yield _fault(
        "bias-first-row-for-all", "bias", "Each gate adds the bias of its first unit to all units.",
        b_layout="first row for all",
    )  # fmt: skip
    yield _fault(
        "bias-first-gate-for-all", "bias", "The bias of the input gate is added to every gate.",
        b_layout="first gate for all",
    )  # fmt: skip
    yield _fault("bias-rolled", "bias", "The bias is shifted by one entry.", b_layout="rows rolled")
    yield _fault("bias-units-reversed", "bias", "The bias is read with its units reversed.", b_layout="units reversed")
    yield _fault(
        "bias-interleaved", "bias", "The bias is read unit by unit, (H, 4) for (4, H).", b_layout="interleaved"
    )
    yield _fault(
        "bias-unit-by-unit", "bias", "The bias is stored unit by unit, and read gate by gate.", b_layout="unit by unit"
    )


_LAYOUT_FAULTS = {
    "reshaped": ("{} is reshaped where it must be transposed.", "Write kernel.T, not kernel.reshape(...)."),
    "each gate transposed": (
        "Each gate's block of {} is transposed (where it is square).",
        "Multiply by the block itself.",
    ),
    "each gate reshaped": ("Each gate's block of {} is reshaped where it must be transposed.", ""),
    "interleaved": ("{} is read unit by unit: row 4 u + k for gate k of unit u.", "Rows are stacked gate by gate."),
    "unit by unit": ("{} is stored unit by unit, and read gate by gate.", "Rows are stacked gate by gate."),
    "fortran": ("{} is written out in column-major order and read as row-major.", "Keep one order: C."),
    "columns reversed": ("The columns of {} are read in reverse.", ""),
    "columns rolled": ("The columns of {} are shifted by one.", ""),
    "halves of columns exchanged": ("The two halves of the columns of {} are exchanged.", ""),
    "units reversed": ("The units of {} are read in reverse.", ""),
    "rows rolled": ("The rows of {} are shifted by one.", ""),
    "negated": ("{} enters with the opposite sign.", "Add the product, do not subtract it."),
    "absolute": ("{} enters with its absolute values.", ""),
    "first row for all": ("Each gate uses the first row of its block of {} for all units.", ""),
    "first gate for all": ("The block of the input gate in {} serves every gate.", ""),
    **{
        f"{gate} transposed": (
            f"The block of the {_NAMES[gate]} {gate} in {{}} is transposed (where it is square).",
            "",
        )
        for gate in GATES
    },
}
_KERNEL_FAULTS = {
    "[h, x]": ("kernel-h-before-x", "[h, x] is multiplied where [x, h] is meant.", "Concatenate x first, then h."),
    "stored [h, x]": (
        "kernel-stored-h-before-x", "The fused kernel is made of R above W, and multiplied with [x, h].",
        "Stack W first, then R.",
    ),
    "reshaped": ("kernel-fused-reshaped", "The fused kernel is reshaped where it must be transposed.", ""),
    "W and R exchanged": ("kernel-W-and-R-exchanged", "W and R are exchanged (where their shapes allow it).", ""),
    "W for R": ("kernel-W-for-R", "W is used in the place of R (where their shapes allow it).", ""),
    "R for W": ("kernel-R-for-W", "R is used in the place of W (where their shapes allow it).", ""),
}  # fmt: skip


def _kernel() -> Iterator[Fault]:
    both = {"W": ("W",), "R": ("R",), "kernels": ("W", "R")}
    for layout, (message, fix) in _LAYOUT_FAULTS.items():
        for what, arrays in both.items():
            words = what if what != "kernels" else "Each of W and R"
            slug = layout.replace(" ", "-")
            text = message.format(words)
            if not message.startswith("{}"):
                text = message.format(words.replace("Each", "each"))
            yield _fault(f"{what}-{slug}", "kernel", text, fix, **{f"{a}_layout": layout for a in arrays})
    for kernels, (name, message, fix) in _KERNEL_FAULTS.items():
        yield _fault(name, "kernel", message, fix, kernels=kernels)
    for layout, words in (
        ("interleaved", "read unit by unit, (H, 4) for (4, H)"),
        ("unit by unit", "stored unit by unit, and read gate by gate"),
    ):
        yield _fault(
            f"weights-{layout.replace(' ', '-')}", "kernel", f"All weights are {words}.",
            "Rows are stacked gate by gate.", **{f"{array}_layout": layout for array in "WRb"},
        )  # fmt: skip
    for part in PARTS:
        if part == "all":
            continue
        for array in "WR":
            yield _fault(
                f"{array}-{part.replace(' ', '-')}", "kernel", f"Of {array} only part is used: {part}.",
                "Use the whole kernel.", **{f"{array}_part": part},
            )  # fmt: skip
    yield from _share_of_kernels()


def _share_of_kernels() -> Iterator[Fault]:
    for array, feeds in (("W", "The input x"), ("R", "The hidden state h")):
        field, name = f"{array}_gain", f"{array}-{{}}"
        use = f"Add the product of {array} once, to every gate."
        for slug, message, factor in (
            ("unused", f"{array} is not used: {feeds[0].lower()}{feeds[1:]} does not reach the gates.", 0.0),
            ("twice", f"The product of {array} is added twice.", 2.0),
            ("halved", f"Half the product of {array} is added.", 0.5),
        ):
            yield Fault(name.format(slug), "kernel", message, use, {field: (factor,) * 4})
        for gate, title in _NAMES.items():
            unused = f"{feeds} does not reach the {title} {gate}."
            yield Fault(name.format(f"unused-{gate}"), "kernel", unused, use, {field: of_gate(gate, 0.0, ONCE)})
            twice = f"The product of {array} is added twice to the {title} {gate}."
            yield Fault(name.format(f"twice-{gate}"), "kernel", twice, use, {field: of_gate(gate, 2.0, ONCE)})


def _slug(curve: str) -> str:
    return curve.replace("_", "-").replace("/", "-")


def _activation() -> Iterator[Fault]:
    sigmoid_like = [name for name in CURVES if name != "sigmoid"]
    for name in sigmoid_like:
        words = CURVES[name].words
        for gate in "ifo":
            curves = tuple(name if own == gate else CANONICAL.curves[k] for k, own in enumerate(GATES))
            yield _fault(
                f"{gate}-{_slug(name)}", "activation",
                f"The {_NAMES[gate]} {gate} has {words} in the place of the sigmoid.", curves=curves,
            )  # fmt: skip
        yield _fault(
            f"gates-{_slug(name)}", "activation",
            f"The gates i, f and o have {words} in the place of the sigmoid.", curves=(name, name, "tanh", name),
        )  # fmt: skip
        if name == "tanh":
            continue
        yield _fault(
            f"all-{_slug(name)}", "activation", f"All four gates have {words} as their activation.",
            curves=(name, name, name, name),
        )  # fmt: skip
    for name in CURVES:
        if name == "tanh":
            continue
        words = CURVES[name].words
        g = ("sigmoid", "sigmoid", name, "sigmoid")
        if name != "sigmoid":
            yield _fault(
                f"g-{_slug(name)}", "activation", f"The candidate g has {words} in the place of tanh.", curves=g
            )
        else:
            yield _fault(
                "g-sigmoid",
                "activation",
                "The candidate g has the sigmoid in the place of tanh: all four gates are alike.",
                curves=g,
            )
        yield _fault(
            f"cell-{_slug(name)}", "activation", f"The cell's output has {words} in the place of tanh.",
            cell_curve=name,
        )  # fmt: skip
        if name == "exp":  # of exp overflows at once
            continue
        yield _fault(
            f"g-and-cell-{_slug(name)}", "activation", f"The candidate and the cell's output have {words} for tanh.",
            curves=g, cell_curve=name,
        )  # fmt: skip
    for curve, tanh in (("hard_sigmoid_0.2", "hard_tanh"), ("pade_sigmoid", "pade_tanh"),
                        ("softsign_sigmoid", "softsign"),
                        ("linear", "linear"), ("relu", "relu")):  # fmt: skip
        yield _fault(
            f"every-curve-{_slug(tanh)}", "activation",
            f"Every activation is replaced: {CURVES[curve].words} in the gates, {CURVES[tanh].words} for tanh.",
            curves=(curve, curve, tanh, curve), cell_curve=tanh,
        )  # fmt: skip


def _cell() -> Iterator[Fault]:
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
            yield _fault(name, "cell", f"The cell computes c = {cell} in the place of f c + i g.", cell=cell)
    names = {
        "tanh(c)": "hidden-without-o", "tanh(o c)": "hidden-o-inside-tanh", "o tanh(c before)": "hidden-of-old-c",
        "c": "hidden-is-c", "o": "hidden-is-o",
        "o + tanh(c)": "hidden-sum", "o c tanh(c)": "hidden-times-c", "tanh(o tanh(c))": "hidden-tanh-twice",
        "o o tanh(c)": "hidden-o-squared", "(1 - o) tanh(c)": "hidden-o-inverted", "-o tanh(c)": "hidden-negated",
    }  # fmt: skip
    for hidden in HIDDEN:
        if hidden != "o tanh(c)":
            name = names[hidden]
            yield _fault(name, "cell", f"The step computes h = {hidden} in the place of o tanh(c).", hidden=hidden)


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


def _state() -> Iterator[Fault]:
    yield _fault(
        "state-reset", "state",
        "The state is not carried: every step is fed the initial state (h and c) in the place of the last step's.",
        "Feed the state that a step returns into the next step.", h_source="initial", c_source="initial",
    )  # fmt: skip
    for own, words in (("h", "the hidden state h"), ("c", "the cell state c")):
        yield _fault(
            f"{own}-reset", "state",
            f"{words[0].upper()}{words[1:]} is not carried: every step is fed the initial {own}.",
            f"Feed the {own} that a step returns into the next step.", **{f"{own}_source": "initial"},
        )  # fmt: skip
        for source, (slug, message) in _SOURCE_WORDS.items():
            text = message.format(words)
            yield _fault(f"{own}-{slug}", "state", f"{text[0].upper()}{text[1:]}.", **{f"{own}_source": source})
    for source, (slug, message) in _SOURCE_WORDS.items():
        text = message.format("the whole state (h and c)")
        yield _fault(f"state-{slug}", "state", f"{text[0].upper()}{text[1:]}.", h_source=source, c_source=source)
    for source, when in (("other", "at every step"), ("other after the first", "from the second step on")):
        slug = "" if source == "other" else "-after-first"
        yield _fault(
            f"state-h-and-c-exchanged{slug}", "state", f"h and c are exchanged when they are fed, {when}.",
            "Keep the order of the pair: (h, c) or (c, h), the same on both sides.", h_source=source, c_source=source,
        )  # fmt: skip
        yield _fault(f"h-taken-from-c{slug}", "state", f"c is fed in the place of h, {when}.", h_source=source)
        yield _fault(f"c-taken-from-h{slug}", "state", f"h is fed in the place of c, {when}.", c_source=source)
    yield _fault("h-fed-ungated", "state", "tanh(c) is fed back: h before the output gate.", h_source="ungated")
    for every in (2, 3, 4, 5, 8, 10, 16):
        yield _fault(
            f"state-reset-every-{every}", "state", f"The state is reset to zero every {every} steps.",
            reset_every=every,
        )  # fmt: skip
        yield _fault(
            f"state-initial-every-{every}", "state", f"The state is reset to the initial state every {every} steps.",
            reset_every=every, reset_to="initial",
        )  # fmt: skip
    for own in ("hc", "h", "c"):
        words = {"hc": "The state is", "h": "The hidden state h is", "c": "The cell state c is"}[own]
        name = {"hc": "state", "h": "h", "c": "c"}[own]
        for to, target in (("zero", "zero"), ("initial", "the initial state")):
            yield _fault(
                f"{name}-reset-to-{to}-once", "state", f"{words} reset to {target} before timestep 2.",
                "Carry the state through timestep 2.", reset_at=(2,), reset_what=own, reset_to=to,
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


def _initial_state() -> Iterator[Fault]:
    for name, words, fields in (
        ("h0", "the initial h0", ("h0",)), ("c0", "the initial c0", ("c0",)),
        ("initial-state", "the initial state (h0 and c0)", ("h0", "c0")),
    ):  # fmt: skip
        for value, (slug, message) in _INITIAL_WORDS.items():
            text = message.format(words)
            yield _fault(
                f"{name}-{slug}", "initial state", f"{text[0].upper()}{text[1:]}.", **dict.fromkeys(fields, value)
            )
    yield _fault(
        "h0-and-c0-exchanged", "initial state", "h0 and c0 are exchanged.",
        "Give h0 as the hidden and c0 as the cell state.", h0="exchanged", c0="exchanged",
    )  # fmt: skip
    yield _fault("h0-taken-from-c0", "initial state", "c0 is given for both h0 and c0.", h0="exchanged")
    yield _fault("c0-taken-from-h0", "initial state", "h0 is given for both h0 and c0.", c0="exchanged")
    yield _fault("h0-plus-c0", "initial state", "h0 starts as h0 + c0.", h0="sum")
    yield _fault("c0-plus-h0", "initial state", "c0 starts as h0 + c0.", c0="sum")


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
    for value in FEATURES:
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
    for value in LENGTHS:
        if value != "given":
            yield _fault(
                f"lengths-{value.replace(',', '').replace(' ', '-')}", "padding",
                f"The lengths of the sequences are taken wrongly: {value}.",
                "Use each sequence's own length, in the order of the batch.", lengths=value,
            )  # fmt: skip


def _clip() -> Iterator[Fault]:
    for value in (0.5, 1.0):
        yield _fault(f"c-clipped-at-{value:g}", "clip", f"c is clipped to ±{value:g}.", c_clip=value)
        yield _fault(f"z-clipped-at-{value:g}", "clip", f"The pre-activations are clipped to ±{value:g}.", z_clip=value)
    yield _fault("h-clipped-at-0.5", "clip", "h is clipped to ±0.5.", h_clip=0.5)
    for k, gate in enumerate("ifo"):
        weights = tuple(1.0 if j == k else 0.0 for j in range(3))
        which = "new" if gate == "o" else "old"
        yield _fault(
            f"peephole-{gate}", "clip", f"The {which} c is added to the {_NAMES[gate]} {gate}: a peephole.",
            peephole=weights,
        )  # fmt: skip
    yield _fault(
        "peephole-o-of-old-c", "clip", "The old c is added to the output gate o: a peephole that must see the new one.",
        peephole_old=1.0,
    )  # fmt: skip
    yield _fault(
        "peepholes", "clip", "c is added to the gates i, f and o: peepholes with weight 1.", peephole=(1.0,) * 3
    )


_ROUNDS_OPERANDS = {"float16": "float16 autocast", "bfloat16": "bfloat16 autocast", "tf32": "TF32 on a GPU"}


def _precision() -> Iterator[Fault]:
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
            yield _fault(
                f"{place}-in-{name}", "precision", f"{where}{words} rounded to {name}.", **dict.fromkeys(fields, name)
            )
        if name != "float32":
            yield _fault(
                f"operands-in-{name}", "precision",
                f"The operands of the products, W, R, x and h, are rounded to {name}: {_ROUNDS_OPERANDS[name]}.",
                operands_format=name,
            )  # fmt: skip


def _scale() -> Iterator[Fault]:
    for value, words in ((0.5, "halved"), (2.0, "doubled")):
        yield _fault(f"x-{words}", "scale", f"The input x is {words}.", x_gain=value)
        yield _fault(
            f"h-{words}-when-fed", "scale", f"h is {words} when it is fed to a step, the first included.", h_keep=value
        )
        yield _fault(
            f"c-{words}-when-fed", "scale", f"c is {words} when it is fed to a step, the first included.", c_keep=value
        )
        yield _fault(f"h-{words}-when-returned", "scale", f"h is {words} when it is returned.", h_gain=value)
        for k, gate in enumerate(GATES):
            gain = tuple(value if j == k else 1.0 for j in range(4))
            yield _fault(
                f"{gate}-{words}", "scale", f"The {_NAMES[gate]} {gate} is {words} after its activation.", gain=gain
            )
