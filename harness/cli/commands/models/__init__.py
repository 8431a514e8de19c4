"""Commands about users' model files and weights."""
