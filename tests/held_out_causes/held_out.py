"""All ports of the held-out set, part 1 and part 2: importing their modules takes them into it."""

from __future__ import annotations

import cell_ports
import decoder_ports
import gradient_ports
import plain_ports
import second_converted_ports
import second_plain_ports
import second_stacked_ports
import second_two_way_ports
import stacked_ports
import two_way_ports
from register import HELD_OUT

FIRST = (plain_ports, two_way_ports, stacked_ports, gradient_ports, decoder_ports, cell_ports)
SECOND = (
    second_plain_ports,
    second_converted_ports,
    second_two_way_ports,
    second_stacked_ports,
)

__all__ = ["FIRST", "HELD_OUT", "SECOND"]
