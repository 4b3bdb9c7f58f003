"""Makes auth tokens: `python -m tandemd.auth mint`. For tests; in production the application with the accounts makes them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .keys import KeyFileError, secret_in


def mint(key: str, kid: str, claims: dict[str, Any]) -> str:
    """Return a token signed with the key in a file: a secret in *.secret, or a private key in PEM. Raises KeyFileError.

    kid: the key's id, "" for the file's name up to its first dot.
    """
    path = Path(key)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    kid = kid or path.name.partition(".")[0]
    if path.suffix == ".secret":
        return jwt.encode(claims, secret_in(data), "HS256", {"kid": kid})
    try:
        private = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: neither a *.secret nor a private key in PEM without a passphrase") from None
    if isinstance(private, RSAPrivateKey):
        return jwt.encode(claims, private, "RS256", {"kid": kid})
    if isinstance(private, Ed25519PrivateKey):
        return jwt.encode(claims, private, "EdDSA", {"kid": kid})
    raise KeyFileError(f"{path}: a key of another kind; use RSA or Ed25519")


def claims_of(
    room: str, user: str, name: str | None, role: str, audience: str, now: float, expires: int
) -> dict[str, Any]:
    """Return the claims of a token. name: None lets the user choose. role: "host" or "guest". now, expires: seconds."""
    claims = {"aud": audience, "sub": user, "room": room, "role": role, "iat": int(now), "exp": int(now) + expires}
    return claims if name is None else claims | {"name": name}


def main(arguments: Sequence[str], now: float) -> int:
    """Run the command line; return the exit status. now: seconds since 1970."""
    parser = argparse.ArgumentParser(prog="python -m tandemd.auth", description="Makes tokens for auth.mode: token.")
    command = parser.add_subparsers(dest="command", required=True).add_parser("mint", help="print a token")
    command.add_argument("--key", required=True, help="a secret (*.secret), or a private key (PEM)")
    command.add_argument("--kid", default="", help="the key's id; default: the file's name up to its first dot")
    command.add_argument("--room", required=True, help="the room id that the token is valid for")
    command.add_argument("--user", required=True, help="the user id that the token is valid for")
    command.add_argument("--name", help="the user's name; default: the user chooses it")
    command.add_argument("--role", choices=("host", "guest"), default="guest")
    command.add_argument("--audience", default="tandemd", help="auth.audience of the server")
    command.add_argument("--expires", type=int, default=3600, help="validity of the token in seconds (3600)")
    options = parser.parse_args(arguments)
    claims = claims_of(options.room, options.user, options.name, options.role, options.audience, now, options.expires)
    try:
        sys.stdout.write(mint(options.key, options.kid, claims) + "\n")
    except KeyFileError as error:
        sys.stderr.write(f"tandemd.auth: {error}\n")
        return 1
    return 0


def run() -> int:
    """Run this process's command line."""
    return main(sys.argv[1:], time.time())
