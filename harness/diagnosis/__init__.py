"""Why: takes observations, gives the causes that reproduce them, found by search or by measuring what can be called."""
