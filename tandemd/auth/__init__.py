"""Who may join, where a signed token (JWT) says so: `auth.mode: token`."""

from .authenticator import Doorkeeper, doorkeeper_of
from .keys import Key, KeyFault, read_keys

__all__ = ["Doorkeeper", "Key", "KeyFault", "doorkeeper_of", "read_keys"]
