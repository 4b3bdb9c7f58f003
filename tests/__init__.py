"""The tests: `python -m tests` runs them all, `python -m twisted.trial tests.rules.test_engine` a module without the limits.

TANDEMD_TEST_EXAMPLES is the number of examples of a randomised test that names none.
"""

import os

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things as well.
examples = int(os.environ.get("TANDEMD_TEST_EXAMPLES", "100"))
settings.register_profile("tandemd", deadline=None, print_blob=True, max_examples=examples)
settings.load_profile("tandemd")
