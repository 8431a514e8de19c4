"""The healthy ports of ``healthy_ports`` that NumPy alone runs, as ``healthy_styles`` asks for them."""

from __future__ import annotations

from healthy_ports import STYLES as ALL

STYLES = {style.name: style.port for style in ALL if style.framework == "numpy"}


def takes(case):
    """Whether the styles run a case: one plain layer forward, in a dtype that NumPy computes in."""
    return case.plain and not case.run.gradients and case.run.dtype in {"float32", "float64"}


def run(problem, port=STYLES["plain"]):
    """The tensors h and c of a problem."""
    weights = {"W": problem.W, "R": problem.R, "b": problem.b}
    h, c = port(problem.x, weights, problem.h0, problem.c0, problem.lengths)
    return {"h": h, "c": c}
