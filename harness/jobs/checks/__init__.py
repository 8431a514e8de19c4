"""What a check of a port does with one form of case: asks it, and explains what diverges."""
