"""Modules for the test of the runner. Their names do not begin with test_, so the suite does not contain them."""
