"""An object with weights of its own, taken as a port: its parameters are found, it is called, its results are read."""
