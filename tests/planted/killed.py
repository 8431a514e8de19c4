"""Is killed as the kernel kills what takes too much memory."""

import os
import signal


def unsupported(case):
    return None


def run(problem):
    os.kill(os.getpid(), signal.SIGKILL)
