"""The conventions of a black box, each measured by its own experiment: takes what can be called, gives its dialect."""
