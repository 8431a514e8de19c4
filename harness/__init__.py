"""Lockstep's core: cases, problems, expected values with their noise, comparison, results."""
