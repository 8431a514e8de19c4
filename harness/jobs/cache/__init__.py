"""Traces that are kept from run to run: what a trace depends on, told as one key, and the folder that holds them."""
