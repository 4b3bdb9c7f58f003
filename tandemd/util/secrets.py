"""Resume tokens, invite codes, and the hashes of tokens and PINs."""

from __future__ import annotations

import base64
import hashlib
from random import Random

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"

INVITE_LENGTH = 10
"""Characters of an invite code, as in the extension's input; 51 bits."""


def new_token(room_id: str, user_id: str, random: Random) -> str:
    """Return a new resume token of 192 random bits. It contains room and member, so that a node can look them up.

    random: `random.SystemRandom`, but in a simulation.
    """
    name = base64.urlsafe_b64encode(f"{room_id}\x00{user_id}".encode()).decode().rstrip("=")
    return f"{base64.urlsafe_b64encode(random.randbytes(24)).decode()}.{name}"


def token_owner(token: str) -> tuple[str, str] | None:
    """Return the room id and user id in a token, or None for a malformed token. The result proves nothing."""
    _, _, name = token.partition(".")
    try:
        room_id, separator, user_id = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode().partition("\x00")
    except ValueError:
        return None
    return (room_id, user_id) if separator else None


def hash_token(token: str) -> str:
    """Return the hash of a token for storage. A token is random, so that a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_invite(random: Random) -> str:
    number, digits = random.randrange(36**INVITE_LENGTH), []
    for _ in range(INVITE_LENGTH):
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    return "".join(digits)


def new_salt(random: Random) -> str:
    return random.randbytes(16).hex()


def hash_pin(pin: str, salt: str) -> str:
    """Return the scrypt hash of a PIN. It takes 16 MiB and some 50 ms, so call it in threads, a few at a time."""
    digest = hashlib.scrypt(pin.encode("utf-8", "surrogatepass"), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32)
    return digest.hex()
