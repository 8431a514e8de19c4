"""What is asked: takes TOML, gives a case, and the problem that a case is, with all its arrays."""
