"""Gives NaN in one place."""

import numpy as np

from lockstep.backends import numpy_loop


def unsupported(case):
    return None


def run(problem):
    trace = numpy_loop.run(problem)
    h = trace.h.copy()
    h[1, 0, 0] = np.nan
    return trace.replaced(h=h)
