"""Needs a framework that is not installed, and says so."""

REQUIRES = ("no_such_framework",)
