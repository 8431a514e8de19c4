"""What is expected: takes a problem, gives every value with the variance of its rounding."""
