"""How a run is carried out: everything that an implementation may do otherwise than the canonical equations.

An ``Execution`` is one flat value. Its defaults are the canonical LSTM of ``harness.reference``; each field
that differs is one deviation. What a field may say stands in a table of ``harness.faults.rules``, from name to a small
function. ``harness.faults.interpret`` carries any execution out.

Weights are the canonical ones of a problem; an execution says how they are *read*. Tuples of four are by
gate, in the order i, f, g, o.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from lockstep.harness.cases.gates import GATES

Changes = dict[str, Any]  # fields of an Execution, and what they are set to
Four = tuple[float, float, float, float]
Range = tuple[int, int | None]

NONE: Four = (0.0, 0.0, 0.0, 0.0)
ONCE: Four = (1.0, 1.0, 1.0, 1.0)


class Execution(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done at each place where implementations differ; the defaults are canonical."""

    # How the stored weights are read. Orders name, block by block, the gate that a block is taken for.
    W_gates: str = GATES
    R_gates: str = GATES
    b_gates: str = GATES
    # Which gate's block each of i, f, g, o reads, after that.
    W_blocks: str = GATES
    R_blocks: str = GATES
    b_blocks: str = GATES
    W_layout: str = "given"  # LAYOUTS
    R_layout: str = "given"
    b_layout: str = "given"
    kernels: str = "[x, h]"  # KERNELS: how W and R are taken from one fused kernel
    W_part: str = "all"  # KERNEL_PARTS
    R_part: str = "all"
    W_gain: Four = ONCE
    R_gain: Four = ONCE
    b_gain: Four = ONCE
    first_bias_gain: float = 1.0  # of the first of the two biases into which ``--layout torch`` splits b
    second_bias_gain: float = 1.0
    # Gates.
    forget_bias: float = 1.0  # how many times the case's forget bias is in effect
    constant: Four = NONE  # added before the activation
    curves: tuple[str, str, str, str] = ("sigmoid", "sigmoid", "tanh", "sigmoid")  # CURVES
    gain: Four = ONCE  # factor on the activated gate
    offset: Four = NONE  # added after the activation
    peephole: tuple[float, float, float] = (0.0, 0.0, 0.0)  # times c, added to i, f, o
    peephole_old: float = 0.0  # times the c that was fed, added to o
    z_clip: float = math.inf
    # The cell.
    cell: str = "f c + i g"  # CELLS
    c_clip: float = math.inf
    c_clip_late: float = math.inf  # of what is carried and returned, after h was made of the unclipped c
    cell_curve: str = "tanh"
    hidden: str = "o tanh(c)"  # HIDDEN
    h_clip: float = math.inf
    c_mix: float = 0.0  # share of the old c, or h, in the new one
    h_mix: float = 0.0
    # The state that a step takes in.
    h_source: str = "previous"  # SOURCES
    c_source: str = "previous"
    h_keep: float = 1.0  # factor on the state that is taken in
    c_keep: float = 1.0
    reset_at: tuple[int, ...] = ()
    reset_every: int = 0
    reset_what: str = "hc"
    reset_to: str = "zero"  # "zero" or "initial"
    reset_past_end: bool = False  # of sequences that have ended too
    h0: str = "given"  # INITIAL
    c0: str = "given"
    # The data.
    x_time: str = "given"  # TIMES
    x_batch: str = "given"  # BATCHES
    x_features: str = "given"  # FEATURE_RULES
    x_gain: float = 1.0
    # What is returned.
    h_returned: str = "h"  # RETURNED
    c_returned: str = "c"
    h_order: str = "given"  # TIMES
    c_order: str = "given"
    h_batch: str = "given"  # BATCHES
    c_batch: str = "given"
    h_gain: float = 1.0
    # The end of a sequence.
    padding: str = "masked"  # PADDING
    lengths: str = "given"  # LENGTH_RULES
    # Precision: formats by place; "" is the case's own.
    W_format: str = ""
    R_format: str = ""
    b_format: str = ""
    x_format: str = ""
    h_format: str = ""
    c_format: str = ""
    z_format: str = ""
    operands_format: str = ""  # of W, R, x and h inside the products alone
    gates_format: str = ""
    returned_format: str = ""
    # Where all this holds; elsewhere the execution is canonical.
    timesteps: Range = (0, None)
    sequences: Range = (0, None)
    units: Range = (0, None)

    def changes(self) -> Changes:
        """The fields that differ from the canonical execution."""
        return {name: value for name, value in asdict(self).items() if value != getattr(AS_INTENDED, name)}

    @property
    def everywhere(self) -> bool:
        """Whether it holds at every timestep, for every sequence and unit."""
        return self.timesteps == self.sequences == self.units == (0, None)


AS_INTENDED = Execution()


def merged(first: Changes, second: Changes) -> Execution | None:
    """The execution with both sets of changes; None where they set the same thing to different values.

    What is set gate by gate is joined gate by gate.
    """
    joined = dict(first)
    for name, value in second.items():
        both = _joined(name, joined[name], value) if name in joined else value
        if both is None:
            return None
        joined[name] = both
    return replace(AS_INTENDED, **joined)


BY_GATE = frozenset({"W_gain", "R_gain", "b_gain", "constant", "curves", "gain", "offset", "peephole"})


def _joined(name: str, first: Any, second: Any) -> Any:
    """What a field is under two changes of it; None where they contradict each other."""
    if first == second:
        return first
    if name not in BY_GATE:
        return None
    parts = []
    for of_first, of_second, neutral in zip(first, second, getattr(AS_INTENDED, name), strict=True):
        if of_first not in (of_second, neutral) and of_second != neutral:
            return None
        parts.append(of_second if of_first == neutral else of_first)
    return tuple(parts)
