"""The table of deviations: takes a problem, gives everything that may be done otherwise, by name and in words."""
