"""One cell called in a loop, for frameworks of cells."""

import numpy as np

from lockstep.harness.adapters.trace import Trace


def loop(problem, step):
    """Run ``step(x, h, c) -> (h, c)`` over all timesteps."""
    h, c, hs, cs = problem.h0, problem.c0, [], []
    for x in problem.x:
        h, c = step(x, h, c)
        hs.append(np.asarray(h))
        cs.append(np.asarray(c))
    return Trace(h=np.stack(hs), c=np.stack(cs), h_n=hs[-1], c_n=cs[-1])
