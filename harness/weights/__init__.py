"""How frameworks store the canonical weights: takes weights under one dialect, gives them under another."""
