"""Random input for all code that reads bytes from clients. `python -m tests.fuzz` looks for more of it."""
