"""Goes on from where its last call ended, instead of from the state that it is given."""

from lockstep.backends import numpy_loop

kept = None


def unsupported(case):
    return None


def run(problem):
    global kept
    if kept is not None:
        problem = problem.__class__.plain(problem.case, problem.W, problem.R, problem.b, problem.x, *kept)
    trace = numpy_loop.run(problem)
    kept = trace.h_n.copy(), trace.c_n.copy()
    return trace
