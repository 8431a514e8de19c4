"""Saved results, rendered."""
