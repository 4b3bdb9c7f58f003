"""Secrets: resume tokens, invite codes, and the hashes that are kept of tokens and PINs."""

from __future__ import annotations

import base64
import hashlib
import secrets

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"

INVITE_LENGTH = 10
"""What the extension's code boxes take; 51 bits."""


def new_token(room_id: str, user_id: str) -> str:
    """Return a fresh resume secret of 192 random bits. It names its room and member, so that it can be looked up."""
    name = base64.urlsafe_b64encode(f"{room_id}\x00{user_id}".encode()).decode().rstrip("=")
    return f"{secrets.token_urlsafe(24)}.{name}"


def token_owner(token: str) -> tuple[str, str] | None:
    """Return (room id, user id) that a token claims to belong to, or None if it is not a token. Proves nothing."""
    _, _, name = token.partition(".")
    try:
        room_id, separator, user_id = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode().partition("\x00")
    except ValueError:
        return None
    return (room_id, user_id) if separator else None


def hash_token(token: str) -> str:
    """Return what is stored of a token. It is random enough for a plain SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_invite() -> str:
    number, digits = secrets.randbelow(36**INVITE_LENGTH), []
    for _ in range(INVITE_LENGTH):
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    return "".join(digits)


def new_salt() -> str:
    return secrets.token_hex(16)


def hash_pin(pin: str, salt: str) -> str:
    """Return a PIN's hash (scrypt, 16 MiB, some 50 ms of a core): call it in a thread, a few at a time."""
    digest = hashlib.scrypt(pin.encode("utf-8", "surrogatepass"), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32)
    return digest.hex()
