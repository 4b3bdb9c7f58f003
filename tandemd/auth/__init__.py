"""Who may join, where a signed token (JWT) says so: `auth.mode: token`."""

from .authenticator import Doorkeeper
from .keys import KeyFault, VerificationKey, read_keys

__all__ = ["Doorkeeper", "VerificationKey", "KeyFault", "read_keys"]
