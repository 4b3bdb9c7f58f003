"""The keys to check auth tokens with, from files. The name of a file decides how it is read.

`NAME.secret`: a secret for HS256. `NAME.pem`: a public key, RSA for RS256 or Ed25519 for EdDSA.
`*.json`: a JWK Set (RFC 7517). The key's id (`kid`) is NAME up to its first dot, or that of the JWK. Each key has one
algorithm, which a token cannot change. So a token cannot use a public key as a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWTError
from jwt.algorithms import HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from msgspec import Struct

from ..util.file_watcher import InvalidFileError, files_in

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048


class KeyFileError(InvalidFileError):
    """A key cannot be used. Its text is one line that names the file and the remedy."""


class VerificationKey(Struct, frozen=True):
    """One key. algorithm: the only one that it verifies. material: the key for PyJWT; never logged."""

    kid: str
    algorithm: str
    material: Any

    def __repr__(self) -> str:
        return f"<Key {self.kid!r} for {self.algorithm}>"


def read_keys(paths: Sequence[str]) -> dict[str, VerificationKey]:
    """Return the keys in files, and in the key files of directories, by id. Raises KeyFileError."""
    keys: dict[str, VerificationKey] = {}
    for path in _files(paths):
        for key in _READERS[path.suffix](path):
            if key.kid in keys:
                raise KeyFileError(f"{path}: two keys have the id {key.kid!r}; each needs one of its own")
            keys[key.kid] = key
    if not keys:
        raise KeyFileError(f"{', '.join(paths) or 'nothing'}: no key; name files *.secret, *.pem or *.json")
    return keys


def _files(paths: Sequence[str]) -> Iterator[Path]:
    for name in paths:
        try:
            files = [Path(file) for file in files_in(name, SUFFIXES)]
        except OSError as error:
            raise KeyFileError(f"{name}: {error.strerror}; make it readable") from None
        for path in files:
            if path.suffix not in SUFFIXES:
                raise KeyFileError(f"{path}: unknown kind of key; name the file *.secret, *.pem or *.json")
            yield path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; it must be a file that can be read") from None


def _kid(path: Path) -> str:
    return path.name.partition(".")[0]


def _secret(path: Path) -> Iterator[VerificationKey]:
    yield VerificationKey(_kid(path), "HS256", _checked_secret(path, secret_in(_content(path))))


def secret_in(data: bytes) -> bytes:
    """Return the secret in a file's content: all bytes except the end of the last line."""
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _checked_secret(path: Path, secret: bytes) -> bytes:
    if b"-----BEGIN" in secret:
        raise KeyFileError(f"{path}: this is a PEM file, not a secret; name it *.pem if it is a public key")
    if len(secret) < MIN_SECRET_BYTES:
        raise KeyFileError(
            f"{path}: {len(secret)} bytes are too short for a secret; take {MIN_SECRET_BYTES} random ones"
        )
    return secret


def _pem(path: Path) -> Iterator[VerificationKey]:
    data = _content(path)
    if b"PRIVATE KEY-----" in data:
        raise KeyFileError(f"{path}: this is a private key; give the server the public one")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: no public key in it; it must be a PEM file with BEGIN PUBLIC KEY") from None
    yield _public(path, _kid(path), key)


def _public(path: Path, kid: str, key: object) -> VerificationKey:
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyFileError(f"{path}: {key.key_size} bits are too short for an RSA key; take {MIN_RSA_BITS} or more")
        return VerificationKey(kid, "RS256", key)
    if isinstance(key, Ed25519PublicKey):
        return VerificationKey(kid, "EdDSA", key)
    raise KeyFileError(f"{path}: the key {kid!r} is of another kind; use RSA or Ed25519")


class _Jwk(Struct):
    kty: str
    kid: str = ""
    alg: str = ""
    d: str | None = None


class _Jwks(Struct):
    keys: list[msgspec.Raw]


_ALGORITHMS = {"oct": "HS256", "RSA": "RS256", "OKP": "EdDSA"}


def _jwks(path: Path) -> Iterator[VerificationKey]:
    try:
        members = msgspec.json.decode(_content(path), type=_Jwks).keys
        for raw in members:
            yield _jwk(path, msgspec.json.decode(raw, type=_Jwk), msgspec.json.decode(raw))
    except (msgspec.MsgspecError, RecursionError):
        raise KeyFileError(f"{path}: not a JWK Set; it must be JSON with a list `keys` of objects with `kty`") from None


def _jwk(path: Path, jwk: _Jwk, fields: dict[str, Any]) -> VerificationKey:
    kid = jwk.kid or _kid(path)
    algorithm = _ALGORITHMS.get(jwk.kty)
    if algorithm is None or jwk.alg not in ("", algorithm):
        raise KeyFileError(f"{path}: the key {kid!r} has an unsupported algorithm; use HS256, RS256 or EdDSA (Ed25519)")
    if jwk.d is not None:
        raise KeyFileError(f"{path}: the key {kid!r} is a private one; give the server the public one")
    try:
        if jwk.kty == "oct":
            return VerificationKey(kid, algorithm, _checked_secret(path, HMACAlgorithm.from_jwk(fields)))
        kind = RSAAlgorithm if jwk.kty == "RSA" else OKPAlgorithm
        return _public(path, kid, kind.from_jwk(fields))
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise KeyFileError(f"{path}: the key {kid!r} cannot be understood; see RFC 7517") from None


_READERS = {".secret": _secret, ".pem": _pem, ".json": _jwks}

SUFFIXES = frozenset(_READERS)
"""The names of key files in a directory end so."""
