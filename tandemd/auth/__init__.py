"""Who may join, where a signed token (JWT) says so: `auth.mode: token`."""

from .authenticator import Doorkeeper
from .keys import Key, KeyFault, read_keys

__all__ = ["Doorkeeper", "Key", "KeyFault", "read_keys"]
