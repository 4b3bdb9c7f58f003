"""Who may join, where a signed token (JWT) says so: `auth.mode: token`."""

from .authenticator import TokenAuthenticator
from .keys import KeyFileError, VerificationKey, read_keys

__all__ = ["TokenAuthenticator", "VerificationKey", "KeyFileError", "read_keys"]
