"""Is wrong from timestep 2 on in one place, and right before."""

from lockstep.backends import numpy_loop


def unsupported(case):
    return None


def run(problem):
    trace = numpy_loop.run(problem)
    h = trace.h.copy()
    h[2:, 0, 1] += 0.01
    return trace.replaced(h=h)
