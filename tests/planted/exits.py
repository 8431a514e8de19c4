"""Calls sys.exit."""

import sys


def unsupported(case):
    return None


def run(problem):
    sys.exit(0)
