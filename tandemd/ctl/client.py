"""HTTP requests to a node."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT_SECONDS = 15.0


class NodeUnreachableError(Exception):
    """The node does not answer, or rejects the token. The text has the remedy."""


class RequestDeniedError(Exception):
    """The node rejects the request. status: of HTTP. The text is the node's reason."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def fetch(
    url: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (lower case) and body of an answer. Blocks; raises NodeUnreachableError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NodeUnreachableError(f"{url} is not an http or https URL such as http://127.0.0.1:4001")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(
            method, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers or {}
        )
        answer = connection.getresponse()
        lowered = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, lowered, answer.read()
    except ssl.SSLCertVerificationError as error:
        raise NodeUnreachableError(f"{url}: the certificate is not trusted: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        raise NodeUnreachableError(f"{url} does not answer: {getattr(error, 'strerror', None) or error}") from None
    finally:
        connection.close()


class NodeClient:
    """The administration API of one node. url: of the node. token: its `admin.token`."""

    def __init__(self, url: str, token: str):
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
        status, _, content = fetch(url, method, body, headers)
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
