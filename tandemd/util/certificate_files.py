"""PEM files with certificates and keys, as the configuration names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL.crypto import X509, PKey
from OpenSSL.crypto import Error as CertificateError
from OpenSSL.SSL import Context
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

from .file_watcher import InvalidFileError, files_in
from .text import one_line

CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
"""For TLS 1.2; all suites of TLS 1.3 are good."""

SUFFIXES = (".pem",)
"""The names of PEM files in a directory end so."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?P<kind>[A-Z ]*PRIVATE KEY)-----.*?-----END (?P=kind)-----", re.DOTALL)


def trusted_authorities(path: str, key: str) -> Any:
    """Return the certificates in a PEM file as authorities to trust, for `optionsForClientTLS`.

    key: the configuration key with the path. Raises InvalidFileError.
    """
    try:
        with open(path, "rb") as file:
            blocks = _CERTIFICATE.findall(file.read())
        if not blocks:
            raise ValueError("it has no certificate")
        return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
    except CertificateError:
        reason = "a certificate in it is damaged"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    raise InvalidFileError(f"{key}: {path} cannot be used: {reason}; name a PEM file with certificates")


def certificates_in(paths: Sequence[str]) -> Iterator[bytes]:
    """Return the certificates in PEM files and directories, as DER. Raises InvalidFileError."""
    for file in dict.fromkeys(file for path in paths for file in _files(path)):
        for match in _CERTIFICATE.finditer(_content(file)):
            yield _certificate(match[0], file).public_bytes(Encoding.DER)


class CertificateFiles:
    """Certificate, chain and key of the files."""

    def __init__(self, paths: Sequence[str]):
        """paths: PEM files, and directories with *.pem files. Raises InvalidFileError."""
        blocks: dict[bytes, str] = {}  # duplicates removed, in the order of the files
        keys: dict[bytes, str] = {}
        for file in dict.fromkeys(file for path in paths for file in _files(path)):
            data = _content(file)
            blocks.update((match[0], file) for match in _CERTIFICATE.finditer(data))
            keys.update((match[0], file) for match in _KEY.finditer(data))
        if not blocks:
            raise InvalidFileError(
                f"tls.certificate: no certificate in {paths[0]}; it must be a PEM file with BEGIN CERTIFICATE"
            )
        if len(keys) != 1:
            number = f"{len(keys)} private keys" if keys else "no private key"
            raise InvalidFileError(
                f"tls.key: {number} in {paths[-1]}; it must be a PEM file with one BEGIN PRIVATE KEY"
            )
        certificates = [_certificate(block, file) for block, file in blocks.items()]
        ((block, file),) = keys.items()
        key = _private_key(block, file)
        own = [certificate for certificate in certificates if certificate.public_key() == key.public_key()]
        if not own:
            raise InvalidFileError(
                f"tls.key: {file} is not the key of the certificate in {next(iter(blocks.values()))}; "
                "name the certificate and its own key"
            )
        # The directory may have an old certificate, too: take the newest.
        self.certificate = max(own, key=lambda certificate: certificate.not_valid_after_utc)
        chain = [certificate for certificate in certificates if certificate.public_key() != key.public_key()]
        try:
            self.context: Context = CertificateOptions(
                privateKey=PKey.from_cryptography_key(key),  # type: ignore[arg-type]  # pyOpenSSL rejects other kinds
                certificate=X509.from_cryptography(self.certificate),
                extraCertChain=[X509.from_cryptography(certificate) for certificate in chain],
                raiseMinimumTo=TLSVersion.TLSv1_2,
                acceptableCiphers=CIPHERS,
            ).getContext()
        except Exception as error:  # OpenSSL has many classes of errors
            raise InvalidFileError(
                f"tls.certificate: {paths[0]} cannot be used: {one_line(error)}; get another one"
            ) from None

    @property
    def names(self) -> str:
        """The host names that the certificate is for."""
        try:
            extension = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):  # ValueError: it is damaged
            return self.certificate.subject.rfc4514_string()
        return ", ".join(str(name.value) for name in extension.value)


def _files(path: str) -> list[str]:
    try:
        return files_in(path, SUFFIXES)
    except OSError as error:
        raise InvalidFileError(_unreadable(path, error)) from None


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidFileError(_unreadable(path, error)) from None


def _unreadable(path: str, error: OSError) -> str:
    return f"tls: {path} cannot be read: {error.strerror}; check tls.certificate and tls.key, and the permissions"


def _certificate(block: bytes, path: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise InvalidFileError(f"tls.certificate: {path} is damaged: {one_line(error)}; get a new copy of it") from None


def _private_key(block: bytes, path: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(block, None)
    except TypeError:
        raise InvalidFileError(f"tls.key: {path} has a passphrase; remove it, with `openssl pkey -in {path}`") from None
    except Exception as error:  # OpenSSL's errors have no common class
        raise InvalidFileError(
            f"tls.key: {path} is damaged or of an unknown kind: {one_line(error)}; get a new one"
        ) from None
