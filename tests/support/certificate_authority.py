"""An authority that signs certificates for tests."""

from __future__ import annotations

import functools
import pathlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """pem: its own certificate, which clients must trust."""

    def __init__(self, name: str = "Test Authority"):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._begun(self._name, self._key.public_key(), datetime.now(UTC) + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _begun(self, name: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime) -> x509.CertificateBuilder:
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        return x509.CertificateBuilder(self._name, name, key, x509.random_serial_number(), begin, end)

    def issue(self, days: float = 90, host: str = "localhost", end: datetime | None = None) -> tuple[bytes, bytes]:
        """Return a certificate and its key, PEM. days: from now until it ends."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        builder = self._begun(name, key.public_key(), end or datetime.now(UTC) + timedelta(days=days))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@functools.cache
def authority() -> Authority:
    """The one of this test process."""
    return Authority()


def write(directory: pathlib.Path, certificate: bytes, key: bytes) -> tuple[str, str]:
    """Write both into files, and return their paths."""
    paths = directory / "cert.pem", directory / "key.pem"
    for path, data in zip(paths, (certificate, key), strict=True):
        path.write_bytes(data)
    return str(paths[0]), str(paths[1])
