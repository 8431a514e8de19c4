"""Asks for more memory than there is."""

import numpy as np


def unsupported(case):
    return None


def run(problem):
    return np.ones(1 << 60)
