"""One algebra of causes: takes a problem and deviations, edits at sites in scopes, gives what comes out with them."""
