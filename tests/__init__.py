"""The tests: `python -m tests` runs them all, `python -m twisted.trial tests.rules.test_engine` a module without the limits."""

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("tandemd", deadline=None, print_blob=True)
settings.load_profile("tandemd")
