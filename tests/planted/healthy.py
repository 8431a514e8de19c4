"""Behaves."""

from backends.numpy_loop import run as run
from backends.numpy_loop import unsupported as unsupported
