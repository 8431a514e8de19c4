"""The interpreter of deviations: takes a problem and edits, gives what comes out of it, with noise and gradients."""
