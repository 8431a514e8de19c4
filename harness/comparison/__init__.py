"""How far from what is expected: takes a trace and expected values, gives results and their verdicts."""
