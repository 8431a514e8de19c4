"""A program in any language as a port: takes a problem as a file, gives what came of the answer that it wrote."""
