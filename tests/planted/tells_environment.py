"""Says what environment it runs in, in its reason not to run."""

import os


def unsupported(case):
    return " ".join(f"{key}={value}" for key, value in os.environ.items())


def run(problem):
    raise NotImplementedError
