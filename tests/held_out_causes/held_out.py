"""All ports of the held-out set: importing their modules takes them into it."""

from __future__ import annotations

import cell_ports
import decoder_ports
import gradient_ports
import plain_ports
import stacked_ports
import two_way_ports
from register import HELD_OUT

MODULES = (plain_ports, two_way_ports, stacked_ports, gradient_ports, decoder_ports, cell_ports)

__all__ = ["HELD_OUT", "MODULES"]
