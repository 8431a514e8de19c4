"""Tables of their own kinds of result."""
