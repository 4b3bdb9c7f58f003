"""Who may join, where a signed token (JWT) says so: `auth.mode: token`."""

from .authenticator import Doorkeeper
from .keys import KeyFileError, VerificationKey, read_keys

__all__ = ["Doorkeeper", "VerificationKey", "KeyFileError", "read_keys"]
