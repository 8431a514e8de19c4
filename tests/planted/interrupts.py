"""Presses Ctrl-C, as it were, in the case called ones."""

import os
import signal
import time

from lockstep.backends import numpy_loop


def unsupported(case):
    return None


def run(problem):
    if problem.case.name == "ones":
        time.sleep(3)  # the case before is judged meanwhile
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    return numpy_loop.run(problem)
