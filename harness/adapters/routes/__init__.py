"""Whole models, the routes by which they are exported, and the processes in which both run."""
