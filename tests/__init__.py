"""The tests, for trial: `python -m twisted.trial tests`."""

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("tandemd", deadline=None)
settings.load_profile("tandemd")
