"""TLS without a proxy. The node reads certificate and key again when their files change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from OpenSSL.SSL import Connection
from twisted.application import service
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from ..config import Config
from ..config.endpoints import tls_endpoint
from ..util.certificate_files import SUFFIXES, CertificateFiles
from ..util.file_watcher import POLL_SECONDS, FileWatcher, InvalidFileError
from ..util.services import PeriodicService, StartupError

EXPIRY_WARNING = timedelta(days=14)
"""Time before the end of a certificate from which the node warns of it."""


def certificates_of(config: Config, clock: IReactorTime, wall: Callable[[], float]) -> Certificates | None:
    """Return the certificates that the configuration names, or None without TLS. Raises StartupError.

    wall: see `Certificates`.
    """
    _, files = tls_endpoint(config)
    return Certificates(files, clock, wall) if files else None


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
                lambda: CertificateFiles(paths),
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

    def _changed(self, read: CertificateFiles) -> None:
        self._log.info(
            "read the TLS certificate again; it is for {names} until {until:%Y-%m-%d}", event="certificate_reloaded",
            names=read.names, until=read.certificate.not_valid_after_utc,
        )  # fmt: skip
        self._warn()

    def _warn(self) -> None:
        for warning in self.warnings():
            if warning != self._warned:
                self._warned = warning
                self._log.warn("{reason}", event="certificate_expiry", reason=warning)
