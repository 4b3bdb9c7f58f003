"""Faults while people watch together: nodes, Redis and PostgreSQL as processes, clients that note everything, a checker.

`python -m tests.chaos --seconds N --seed S` runs it for long; tests/chaos/test_chaos.py is the short version.
"""
