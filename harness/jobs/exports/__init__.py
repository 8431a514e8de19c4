"""Whole models through routes: converted, run, held against their source, and where they leave it, by which layer."""
