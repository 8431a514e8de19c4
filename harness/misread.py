"""What becomes of weights that are stored under one dialect and read under another: one call.

    interpret(problem, misread(DIALECTS["tf1"], DIALECTS["torch"]))

gives what an implementation computes that takes TF1's kernel for PyTorch's. Kernels of the other orientation are taken
as their memory lies: reshaped until the shape fits, as it is done when a transposition is forgotten.
"""

from __future__ import annotations

from typing import Any

from lockstep.harness.execution import CANONICAL, GATES, Execution, merged
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.weights.dialect import Dialect


def misread(stored: Dialect, read: Dialect) -> Execution:
    """Give the execution that reading under another dialect is; canonical where both agree.

    Args:
        stored: How the weights were stored.
        read: How they are taken.
    """
    order = "".join(read.gates[stored.gates.index(gate)] for gate in GATES)
    constant = dict.fromkeys(GATES, 0.0)
    # The one left its forget bias out of the stored bias; the other adds its own at run time.
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
    execution = merged({name: value for name, value in changes.items() if value != getattr(CANONICAL, name)}, {})
    assert execution is not None
    return execution


def _curve(name: str) -> str:
    """Give the curve that a dialect's activation is."""
    return name if name in CURVES else {"hard_sigmoid": "hard_sigmoid_0.2"}[name]
