"""A process of our own, the pipe to it, and the files that arrays go through between the two."""
