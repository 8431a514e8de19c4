"""The commands, one file for each. What they need is imported when they run: help and lists answer at once."""
