"""All ports of the held-out set, parts 1 to 7: importing their modules takes them into it."""

from __future__ import annotations

import cell_ports
import decoder_ports
import fifth_cell_ports
import fifth_decoder_ports
import fifth_gradient_ports
import fifth_plain_ports
import fifth_stacked_ports
import fifth_two_way_ports
import fourth_cell_ports
import fourth_decoder_ports
import fourth_gradient_ports
import fourth_plain_ports
import fourth_stacked_ports
import fourth_two_way_ports
import gradient_ports
import plain_ports
import second_backward_kernel_ports
import second_cell_ports
import second_converted_ports
import second_decoder_ports
import second_gradient_ports
import second_pair_ports
import second_plain_ports
import second_stacked_ports
import second_two_way_ports
import seventh_two_way_ports
import sixth_stacked_ports
import sixth_two_way_ports
import stacked_ports
import third_attention_ports
import third_backward_ports
import third_cell_ports
import third_decoder_ports
import third_gradient_ports
import third_loaded_ports
import third_plain_ports
import third_stacked_ports
import third_two_way_ports
import two_way_ports
from register import HELD_OUT

FIRST = (plain_ports, two_way_ports, stacked_ports, gradient_ports, decoder_ports, cell_ports)
SECOND = (
    second_plain_ports,
    second_converted_ports,
    second_two_way_ports,
    second_stacked_ports,
    second_gradient_ports,
    second_backward_kernel_ports,
    second_decoder_ports,
    second_cell_ports,
    second_pair_ports,
)
THIRD = (
    third_plain_ports,
    third_loaded_ports,
    third_two_way_ports,
    third_stacked_ports,
    third_gradient_ports,
    third_backward_ports,
    third_decoder_ports,
    third_attention_ports,
    third_cell_ports,
)
FOURTH = (
    fourth_plain_ports,
    fourth_two_way_ports,
    fourth_stacked_ports,
    fourth_gradient_ports,
    fourth_decoder_ports,
    fourth_cell_ports,
)
FIFTH = (
    fifth_plain_ports,
    fifth_two_way_ports,
    fifth_stacked_ports,
    fifth_gradient_ports,
    fifth_decoder_ports,
    fifth_cell_ports,
)
SIXTH = (sixth_two_way_ports, sixth_stacked_ports)
SEVENTH = (seventh_two_way_ports,)

__all__ = ["FIFTH", "FIRST", "FOURTH", "HELD_OUT", "SECOND", "SEVENTH", "SIXTH", "THIRD"]
