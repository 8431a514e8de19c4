"""Deviations in how weights are read: gate orders, biases, layouts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

from lockstep.harness.cases.gates import GATES
from lockstep.harness.faults.execution import AS_INTENDED, NONE, ONCE, Execution, merged
from lockstep.harness.faults.fault import GATE_NAMES, Fault, make_fault, of_gate
from lockstep.harness.faults.rules import KERNEL_PARTS
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.weights.dialect import Dialect


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


def gate_order_faults() -> Iterator[Fault]:
    """Blocks of gates read in another order."""
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
            yield make_fault(
                f"gates-{title}{where}", "gate order", f"{what}{origin}, and stored as i, f, g, o.",
                **{f"{array}_gates": order for array in arrays},
            )  # fmt: skip


def _exchange(a: str, b: str) -> str:
    return GATES.translate(str.maketrans(a + b, b + a))


def shared_block_faults() -> Iterator[Fault]:
    """One gate reads the block of another: two gates then share their weights."""
    for gate, source in permutations(GATES, 2):
        blocks = GATES.replace(gate, source)
        for where in ("", "-in-W", "-in-R", "-in-b"):
            words, arrays = _WHERE[where]
            yield make_fault(
                f"{gate}-reads-{source}{where}", "gate order",
                f"The {GATE_NAMES[gate]} {gate} uses the block{words} of the {GATE_NAMES[source]} {source}.",
                "Use each gate's own block of the kernels and the bias.",
                **{f"{array}_blocks": blocks for array in arrays},
            )  # fmt: skip


def forget_bias_faults() -> Iterator[Fault]:
    """The forget bias left out, doubled or misplaced."""
    add, once = (
        "Add the forget bias to the forget gate before its sigmoid",
        "b holds the forget bias: do not add it again.",
    )
    for name, message, fix, times in (
        ("absent", "The forget bias, 1, is left out", f"{add} (with --layout tf1: 1.0, at run time).", -1.0),
        ("twice", "The forget bias, 1, is added twice", once, 1.0),
        ("subtracted", "The forget bias, 1, is subtracted instead of added", f"{add}: do not subtract it.", -2.0),
    ):
        yield make_fault(f"forget-bias-{name}", "forget bias", f"{message}.", fix, constant=of_gate("f", times, NONE))
        yield make_fault(
            f"forget-bias-of-the-case-{name}", "forget bias", f"{message.replace(', 1,', ' of the case')}.", fix,
            forget_bias=times + 1.0,
        )  # fmt: skip
    yield make_fault(
        "forget-bias-after-sigmoid", "forget bias", "1 is added to the forget gate after its sigmoid.",
        offset=(0.0, 1.0, 0.0, 0.0),
    )  # fmt: skip
    yield make_fault(
        "forget-bias-moved-after-sigmoid", "forget bias",
        "The forget bias 1 is added to the forget gate after its sigmoid instead of before it.",
        constant=(0.0, -1.0, 0.0, 0.0), offset=(0.0, 1.0, 0.0, 0.0),
    )  # fmt: skip
    for gate in "igo":
        yield make_fault(
            f"forget-bias-on-{gate}", "forget bias",
            f"The forget bias 1 is added to the {GATE_NAMES[gate]} {gate} instead of the forget gate f.",
            constant=of_gate(gate, 1.0, (0.0, -1.0, 0.0, 0.0)),
        )  # fmt: skip
        yield make_fault(
            f"forget-bias-also-on-{gate}", "forget bias", f"1 is added to the {GATE_NAMES[gate]} {gate} too.",
            "Only the forget gate has a forget bias.", constant=of_gate(gate, 1.0, NONE),
        )  # fmt: skip
    yield make_fault(
        "forget-bias-on-all", "forget bias", "1 is added to every gate.", "Only the forget gate has a forget bias.",
        constant=(1.0, 1.0, 1.0, 1.0),
    )  # fmt: skip


def bias_faults() -> Iterator[Fault]:
    """The bias dropped, doubled, or read wrongly."""
    for slug, message, factor in (
        ("dropped", "The bias is not added at all.", 0.0), ("twice", "The bias is added twice.", 2.0),
        ("halved", "Half the bias is added.", 0.5), ("subtracted", "The bias is subtracted instead of added.", -1.0),
    ):  # fmt: skip
        yield make_fault(f"bias-{slug}", "bias", message, b_gain=(factor,) * 4)
    for gate, name in GATE_NAMES.items():
        yield make_fault(
            f"bias-dropped-{gate}", "bias", f"The bias of the {name} {gate} is not added.",
            b_gain=of_gate(gate, 0.0, ONCE),
        )  # fmt: skip
        yield make_fault(
            f"bias-twice-{gate}", "bias", f"The bias of the {name} {gate} is added twice.",
            b_gain=of_gate(gate, 2.0, ONCE),
        )  # fmt: skip
        yield make_fault(
            f"bias-only-{gate}", "bias", f"Only the {name} {gate} gets its bias.", b_gain=of_gate(gate, 1.0, NONE)
        )
    for kept, lost in (("first", "second"), ("second", "first")):
        title = {"first": "input", "second": "recurrent"}
        yield make_fault(
            f"bias-{kept}-of-two-only", "bias",
            f"Of the two biases only the {title[kept]} one is added; the {title[lost]} one is left out.",
            "Add both: bias_ih + bias_hh.", **{f"{lost}_bias_gain": 0.0},
        )  # fmt: skip
        yield make_fault(
            f"bias-{kept}-of-two-twice", "bias",
            f"Of the two biases the {title[kept]} one is added twice, and the {title[lost]} one not at all.",
            "Add both: bias_ih + bias_hh.", **{f"{kept}_bias_gain": 2.0, f"{lost}_bias_gain": 0.0},
        )  # fmt: skip
    for name, message, layout in (
        ("first-row-for-all", "Each gate adds the bias of its first unit to all units.", "first row for all"),
        ("first-gate-for-all", "The bias of the input gate is added to every gate.", "first gate for all"),
        ("rolled", "The bias is shifted by one entry.", "rows rolled"),
        ("units-reversed", "The bias is read with its units reversed.", "units reversed"),
        ("interleaved", "The bias is read unit by unit, (H, 4) for (4, H).", "interleaved"),
        ("unit-by-unit", "The bias is stored unit by unit, and read gate by gate.", "unit by unit"),
    ):
        yield make_fault(f"bias-{name}", "bias", message, b_layout=layout)


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
            f"The block of the {GATE_NAMES[gate]} {gate} in {{}} is transposed (where it is square).",
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


def kernel_faults() -> Iterator[Fault]:
    """Kernels transposed, reshaped, cut or exchanged."""
    both = {"W": ("W",), "R": ("R",), "kernels": ("W", "R")}
    for layout, (message, fix) in _LAYOUT_FAULTS.items():
        for what, arrays in both.items():
            words = what if what != "kernels" else "Each of W and R"
            slug = layout.replace(" ", "-")
            text = message.format(words)
            if not message.startswith("{}"):
                text = message.format(words.replace("Each", "each"))
            yield make_fault(f"{what}-{slug}", "kernel", text, fix, **{f"{a}_layout": layout for a in arrays})
    for kernels, (name, message, fix) in _KERNEL_FAULTS.items():
        yield make_fault(name, "kernel", message, fix, kernels=kernels)
    for layout, words in (
        ("interleaved", "read unit by unit, (H, 4) for (4, H)"),
        ("unit by unit", "stored unit by unit, and read gate by gate"),
    ):
        yield make_fault(
            f"weights-{layout.replace(' ', '-')}", "kernel", f"All weights are {words}.",
            "Rows are stacked gate by gate.", **{f"{array}_layout": layout for array in "WRb"},
        )  # fmt: skip
    for part in KERNEL_PARTS:
        if part == "all":
            continue
        for array in "WR":
            yield make_fault(
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
        for gate, title in GATE_NAMES.items():
            unused = f"{feeds} does not reach the {title} {gate}."
            yield Fault(name.format(f"unused-{gate}"), "kernel", unused, use, {field: of_gate(gate, 0.0, ONCE)})
            twice = f"The product of {array} is added twice to the {title} {gate}."
            yield Fault(name.format(f"twice-{gate}"), "kernel", twice, use, {field: of_gate(gate, 2.0, ONCE)})


def misread(stored: Dialect, read: Dialect) -> Execution:
    """The execution that reading under another dialect is; as intended where both agree.

    Args:
        stored: How the weights were stored.
        read: How they are taken.
    """
    order = "".join(read.gates[stored.gates.index(gate)] for gate in GATES)
    constant = dict.fromkeys(GATES, 0.0)
    # Storing left the one forget bias out of the stored bias; reading adds the other at run time.
    constant[read.gates[stored.gates.index("f")]] -= stored.forget_bias
    constant["f"] += read.forget_bias
    layout = "given"
    if stored.transposed != read.transposed:
        layout = "fortran" if stored.transposed else "reshaped"
    changes: dict[str, Any] = {
        "W_gates": order, "R_gates": order, "b_gates": order, "W_layout": layout, "R_layout": layout,
        "constant": tuple(constant[gate] for gate in GATES),
        "curves": tuple(_curve(read.activation if gate == "g" else read.gate_activation) for gate in GATES),
        "cell_curve": _curve(read.activation),
    }  # fmt: skip
    execution = merged({name: value for name, value in changes.items() if value != getattr(AS_INTENDED, name)}, {})
    assert execution is not None
    return execution


def _curve(name: str) -> str:
    """The name of the curve that a dialect's activation is."""
    return name if name in CURVES else {"hard_sigmoid": "hard_sigmoid_0.2"}[name]
