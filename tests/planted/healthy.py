"""Behaves."""

from lockstep.backends.numpy_loop import run as run
from lockstep.backends.numpy_loop import unsupported as unsupported

RESETS = True
