"""Attacks by clients on real sockets against real processes. `python -m tests.attacks` is the full suite, with a report."""
