"""Authentication of JOINs by signed tokens (JWT), with `auth.mode: token`, and PIN hashing."""

from .authenticator import TokenAuthenticator
from .keys import KeyFileError, VerificationKey, read_keys

__all__ = ["TokenAuthenticator", "VerificationKey", "KeyFileError", "read_keys"]
