"""Anything at all, thrown at what reads bytes from strangers. `python -m tests.fuzz` looks for more of it."""
