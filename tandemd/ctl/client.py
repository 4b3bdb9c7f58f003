"""HTTP requests to a node."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct

from ..util.file_watcher import InvalidFileError

TIMEOUT_SECONDS = 15.0


class Trust(Struct, frozen=True):
    """The proof of identity that an https server must give.

    authorities: a PEM file with authorities to trust beside those of the system; "" for none.
    certificates: PEM files, and directories with them, with the certificate of a node on this machine. If given, the
    server must have this certificate. The name in the certificate, its authority and its end do not count then, because a
    certificate for party.example.org does not name 127.0.0.1.
    """

    authorities: str = ""
    certificates: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return the context of a connection. Raises NodeUnreachableError if the file of authorities cannot be used."""
        context = ssl.create_default_context()
        if self.certificates:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.authorities:
            try:
                context.load_verify_locations(self.authorities)
            except OSError as error:
                text = (
                    f"{self.authorities}: cannot be used: {error.strerror or error}; name a PEM file with certificates"
                )
                raise NodeUnreachableError(text) from None
        return context

    def check(self, url: str, shown: bytes | None) -> None:
        """Compare the certificate of a server (DER) with the files. Raises NodeUnreachableError."""
        if not self.certificates:
            return
        from ..util.certificate_files import certificates_in  # noqa: PLC0415  # slow, and only for https

        try:
            known = shown in list(certificates_in(self.certificates))
        except InvalidFileError as error:
            raise NodeUnreachableError(f"{error}; or name the node with --url, and its authority with --ca") from None
        if not known:
            raise NodeUnreachableError(
                f"{url} shows another certificate than the one in {self.certificates[0]}: a node reads a new file within "
                "20 s; otherwise another program listens there, or the node has another configuration"
            )


SYSTEM_TRUST = Trust()


class NodeUnreachableError(Exception):
    """The node does not answer, or rejects the token. The text has the remedy."""


class RequestDeniedError(Exception):
    """The node rejects the request. status: of HTTP. The text is the node's reason."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def fetch(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    trust: Trust = SYSTEM_TRUST,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (lower case) and body of an answer. Blocks; raises NodeUnreachableError."""
    host = port = None
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            host, port = parts.hostname, parts.port
    except ValueError:
        pass  # a port above 65535, or half an IPv6 address
    if not host:
        raise NodeUnreachableError(f"{url} is not an http or https URL such as http://127.0.0.1:4001")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=trust.context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket):
            # The request has the token, so the check comes before it.
            trust.check(url, connection.sock.getpeercert(binary_form=True))
        connection.request(
            method, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers or {}
        )
        answer = connection.getresponse()
        lowered = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, lowered, answer.read()
    except ssl.SSLCertVerificationError as error:
        text = f"{url}: the certificate is not trusted: {error.verify_message}; trust its authority with --ca FILE"
        raise NodeUnreachableError(text) from None
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise NodeUnreachableError(f"{url} does not answer: {getattr(error, 'strerror', None) or error}") from None
    finally:
        connection.close()


class NodeClient:
    """The administration API of one node. url: of the node. token: its `admin.token`."""

    def __init__(self, url: str, token: str, trust: Trust = SYSTEM_TRUST):
        self._trust = trust
        self._url = url.rstrip("/")
        self._token = token

    def get(self, *path: str, **arguments: object) -> Any:
        """Return the JSON at a path. Raises NodeUnreachableError or RequestDeniedError."""
        query = f"?{urlencode(arguments)}" if arguments else ""
        return self._ask("GET", path, query, None)

    def post(self, *path: str, **body: object) -> Any:
        """Send a request with a body, and return the answer. Raises NodeUnreachableError or RequestDeniedError."""
        return self._ask("POST", path, "", json.dumps(body).encode())

    def _ask(self, method: str, path: tuple[str, ...], query: str, body: bytes | None) -> Any:
        url = "/".join((self._url, "admin/v1", *(quote(part, safe="") for part in path))) + query
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        status, _, content = fetch(url, method, body, headers, self._trust)
        try:
            answer = json.loads(content)
        except ValueError:
            raise NodeUnreachableError(
                f"{self._url} has no administration API (it answers {status}); set admin.token there"
            ) from None
        if status == 200:
            return answer
        text = answer.get("error", "") if isinstance(answer, dict) else ""
        if status in (401, 429):
            raise NodeUnreachableError(f"{self._url} rejects the token: {text}")
        raise RequestDeniedError(status, text or f"the node answers {status}")
