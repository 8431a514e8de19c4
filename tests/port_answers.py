"""What a right port returns, in each of its forms, from the reference: to be spoilt in one place at a time."""

from __future__ import annotations

import numpy as np
from values_alone import backward, forward

from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import lanes, name_of


def answers(problem):
    """Give everything a port may return for a problem, by the names of the result, in the case's dtype."""
    case, lstm = problem.case, problem.case.lstm
    found = {name: array.astype(dtype_of(case.run.dtype)) for name, array in forward(problem).items()}
    top = lanes(lstm)[-len(lstm.directions) :]
    sides = [found[name_of("h", lane, lstm)] for lane in top]
    results = {"h_seq": found["h"] if lstm.merged else np.concatenate(sides, axis=-1)}
    if lstm.single:
        results["c_seq"] = found["c"]
    results |= {name: _of_lanes(found, name, lstm) for name in ("h_n", "c_n")}
    if not case.run.gradients:
        return results
    found = {name: array.astype(dtype_of(case.run.dtype)) for name, array in backward(problem).items()}
    results |= {"x": found["dx"], "h0": _of_lanes(found, "dh0", lstm), "c0": _of_lanes(found, "dc0", lstm)}
    for name in ("W", "R", "b", "P", "p"):
        kind = f"d{name}"
        own = [found.get(name_of(kind, lane, lstm)) for lane in lanes(lstm)]
        if own[0] is not None:
            results[name] = own[0] if lstm.single else _in_lists(own, lstm)
    return results


def _in_lists(own, lstm):
    count = len(lstm.directions)
    return [own[k : k + count] for k in range(0, len(own), count)]


def _of_lanes(found, kind, lstm):
    own = [found[name_of(kind, lane, lstm)] for lane in lanes(lstm)]
    return own[0] if lstm.single else np.stack(own)
