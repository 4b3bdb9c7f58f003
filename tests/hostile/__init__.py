"""Hostile clients on real sockets against real processes. `python -m tests.hostile` is the full suite, with a report."""
