"""TLS without a proxy. The node reads certificate and key again when their files change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL.crypto import X509, PKey
from OpenSSL.crypto import Error as CertificateError
from OpenSSL.SSL import Connection, Context
from twisted.application import service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from ..config import Config
from ..util.file_watcher import POLL_SECONDS, FileWatcher, InvalidFileError, files_in
from ..util.services import PeriodicService, StartupError
from ..util.text import one_line

EXPIRY_WARNING = timedelta(days=14)
"""Time before the end of a certificate from which the node warns of it."""

CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
"""For TLS 1.2; all suites of TLS 1.3 are good."""

SUFFIXES = (".pem",)
"""The names of PEM files in a directory end so."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?P<kind>[A-Z ]*PRIVATE KEY)-----.*?-----END (?P=kind)-----", re.DOTALL)


def tls_endpoint(config: Config) -> tuple[str, tuple[str, ...]]:
    """Return the endpoint below TLS, and the files of certificate and key; no files without TLS.

    `tls:DIRECTORY:port=443` is Twisted's, but Twisted never reads a renewed certificate, so the node implements it.
    """
    match = re.fullmatch(r"tls:(?:path=)?((?:[^:\\]|\\.)+)(?::(.*))?", config.port)
    if match is None:
        files = (config.tls.certificate, config.tls.key or config.tls.certificate)
        return config.endpoint, files if config.tls.certificate else ()
    directory, arguments = re.sub(r"\\(.)", r"\1", match[1]), match[2] or "443"
    if not re.search(r"^\d+|\bport=", arguments):
        arguments = f"port=443:{arguments}"
    backlog = "" if "backlog=" in arguments else ":backlog=4096"
    return f"tcp6:{arguments}{backlog}", (directory,)


def certificates_of(config: Config, clock: IReactorTime, wall: Callable[[], float]) -> Certificates | None:
    """Return the certificates that the configuration names, or None without TLS. Raises StartupError.

    wall: see `Certificates`.
    """
    _, files = tls_endpoint(config)
    return Certificates(files, clock, wall) if files else None


def trusted_authorities(path: str, key: str) -> Any:
    """Return the certificates in a PEM file as authorities to trust, for `optionsForClientTLS`.

    key: the configuration key with the path. Raises StartupError.
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
    raise StartupError(f"{key}: {path} cannot be used: {reason}; name a PEM file with certificates")


class _FileContent:
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


@implementer(IOpenSSLServerConnectionCreator)
class Certificates(service.MultiService):
    """Puts TLS below a factory. New connections use the newest certificate; open connections are not affected."""

    name = "certificates"
    _log = Logger()

    def __init__(self, paths: Sequence[str], clock: IReactorTime, wall: Callable[[], float]):
        """Raises StartupError if the files cannot be used. wall: the wall clock, in seconds since 1970."""
        super().__init__()
        self._clock = clock
        self._wall = wall
        self._warned = ""
        try:
            self._files = FileWatcher(
                paths,
                SUFFIXES,
                lambda: _FileContent(paths),
                self._changed,
                "failed to read the TLS certificate again: {reason}",
                clock,
            )
        except InvalidFileError as error:
            raise StartupError(str(error)) from None
        self._files.setServiceParent(self)
        PeriodicService(clock, POLL_SECONDS, self._warn, "checking the end of the certificate").setServiceParent(self)

    @property
    def expires(self) -> float:
        """The end of the certificate, in seconds since 1970."""
        return self._files.content.certificate.not_valid_after_utc.timestamp()

    def wrap_factory(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Return the factory with TLS below it."""
        return TLSMemoryBIOFactory(self, False, factory, clock=self._clock)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> Connection:
        return Connection(self._files.content.context, None)

    def warnings(self) -> list[str]:
        """Return faults of the certificate, as texts for operators."""
        end = self._files.content.certificate.not_valid_after_utc
        now = datetime.fromtimestamp(self._wall(), UTC)
        if now > end:
            return [f"the TLS certificate for {self._files.content.names} has expired on {end:%Y-%m-%d}; renew it"]
        if now > end - EXPIRY_WARNING:
            return [f"the TLS certificate for {self._files.content.names} expires on {end:%Y-%m-%d}; renew it"]
        return []

    def reload(self) -> None:
        """Read the files again. If they cannot be used, the present certificate stays."""
        self._files.reload()

    def _changed(self, read: _FileContent) -> None:
        self._log.info(
            "read the TLS certificate again; it is for {names} until {until:%Y-%m-%d}",
            names=read.names, until=read.certificate.not_valid_after_utc,
        )  # fmt: skip
        self._warn()

    def _warn(self) -> None:
        for warning in self.warnings():
            if warning != self._warned:
                self._warned = warning
                self._log.warn("{reason}", reason=warning)
