"""Deviations: takes a problem and what is done otherwise, gives what an implementation would return."""
