"""Proofs of identity: signed tokens of JOINs (`auth.mode: token`), hashes of PINs, credentials for TURN servers.

May import: interfaces, rules, messages, errors, util.
"""

from .authenticator import TokenAuthenticator
from .keys import KeyFileError, VerificationKey, read_keys

__all__ = ["TokenAuthenticator", "VerificationKey", "KeyFileError", "read_keys"]
