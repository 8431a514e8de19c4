"""The command lockstep: takes words, gives an exit status."""
