"""Search without end: units drawn and run, a journal that survives anything, findings shrunk and kept as bundles."""
