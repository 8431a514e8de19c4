"""The user's own function: takes a problem, gives what one call of it came to."""
