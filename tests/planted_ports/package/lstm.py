"""Imports its neighbour relatively."""

import sys

sys.path.append(__file__.rpartition("/package/")[0])
from .cells import port as port
