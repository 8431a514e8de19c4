"""One module per implementation. Found by entry points, never imported by the core."""
