"""Helpers of the tests: clients, servers, fake nodes. No tests in here."""
