"""`python -m tandemd.auth`."""

import sys

from .mint import run

sys.exit(run())
