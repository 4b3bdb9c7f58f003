"""Responses to HTTP requests, and their delivery to the client."""

from __future__ import annotations

from collections.abc import Coroutine
from http import HTTPStatus
from math import ceil
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request

from ..errors import ErrorCode, RequestError
from ..ratelimit.connections import Rejection

log = Logger()

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NO_STORE = ("Cache-Control", "no-store")

_STATUS = {
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.NO_OTHER_NODE: 409,
}


class Body(Protocol):
    """The body of a response that is sent as fast as the client reads it."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    def send(self, request: Request) -> None:
        """Write the body, finish the request, and close the body. The size is not 0."""

    def close(self) -> None:
        """Release files, because the body will not be sent."""


class Response(Struct, frozen=True):
    """A response. `ResponseWriter` adds Content-Length."""

    status: int
    body: bytes | Body = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, text.encode(), TEXT, headers)


def json_answer(status: int, value: object, *headers: tuple[str, str]) -> Response:
    return Response(status, msgspec.json.encode(value), JSON, headers)


class HttpError(Exception):
    """The request is answered with an error.

    status: the HTTP status, 400 or more.
    text: the reason and the remedy, as one sentence.
    retry_after: seconds, or None.
    """

    def __init__(self, status: int, text: str, retry_after: float | None = None):
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after = retry_after


ResponseOrCoroutine: TypeAlias = Response | Coroutine[Deferred[Any], Any, Response]


class Endpoint:
    """The resource below one path. Subclasses override `answer`.

    plain: whether errors are plain text instead of JSON.
    posts: whether the endpoint accepts POST.
    """

    plain = False
    posts = False

    def answer(self, request: Request, path: list[str]) -> ResponseOrCoroutine:
        """Answer a GET or HEAD, or a POST where `posts` is true.

        path: the decoded parts of the path behind the endpoint's own.

        HttpError and RequestError become error responses. A coroutine is cancelled if the client disconnects.
        """
        raise NotImplementedError

    def error(self, status: int, text: str, retry_after: float | None = None) -> Response:
        """Return the response for an error. retry_after: seconds."""
        headers = [NO_STORE]
        if retry_after is not None:
            headers.append(("Retry-After", str(max(1, ceil(retry_after)))))
        if status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        return text_answer(status, text, *headers) if self.plain else json_answer(status, {"error": text}, *headers)


class ResponseWriter:
    """Runs one request and sends its response."""

    def __init__(self, request: Request, endpoint: Endpoint):
        self._request = request
        self._endpoint = endpoint
        self._gone = False
        self._work: Deferred[Response] | None = None
        request.notifyFinish().addErrback(self._lost)

    def run(self, path: list[str]) -> None:
        """Call the endpoint and send its response, now or later."""
        try:
            work = self._endpoint.answer(self._request, path)
        except Exception:
            self.send(self._failed(Failure()))
            return
        if isinstance(work, Response):
            self.send(work)
            return
        self._work = Deferred.fromCoroutine(work)
        self._work.addErrback(self._failed)
        self._work.addCallback(self.send)

    def _lost(self, reason: Failure) -> None:
        self._gone = True
        if self._work is not None:
            self._work.cancel()

    def _failed(self, failure: Failure) -> Response:
        error = failure.value
        if isinstance(error, HttpError):
            return self._endpoint.error(error.status, error.text, error.retry_after)
        if isinstance(error, RequestError):
            retry_after = None if error.retry_after is None else error.retry_after / 1000
            return self._endpoint.error(_STATUS.get(error.code, 400), error.text, retry_after)
        if not (self._gone and isinstance(error, CancelledError)):
            # The log does not contain the path, because that of an invite link has the code and the PIN.
            log.failure(
                "failed to answer a request to {endpoint}",
                event="request_failed",
                failure=failure,
                endpoint=type(self._endpoint).__name__,
            )
        return self._endpoint.error(500, "Internal error; the server has logged it.")

    def send(self, answer: Response) -> None:
        """Send a response, unless the client has disconnected."""
        body, request = answer.body, self._request
        if self._gone:
            if not isinstance(body, bytes):
                body.close()
            return
        request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
        for name, value in answer.headers:
            request.responseHeaders.addRawHeader(name, value)
        if answer.status == 429:
            # A new connection costs the client more than a further request.
            request.channel.persistent = 0
            request.setHeader(b"Connection", b"close")
        if answer.content_type:
            request.setHeader(b"Content-Type", answer.content_type.encode())
        size = len(body) if isinstance(body, bytes) else body.size
        if answer.status not in (204, 304):
            request.setHeader(b"Content-Length", b"%d" % size)
        if isinstance(body, bytes):
            if request.method != b"HEAD" and body:
                request.write(body)
            request.finish()
        elif request.method == b"HEAD" or not size:
            body.close()
            request.finish()
        else:
            body.send(request)


def rejection_answer(rejection: Rejection) -> Response:
    """Return the response to a connection or request that the limits reject."""
    body: dict[str, object] = {"error": rejection.text, "code": rejection.code}
    headers = [NO_STORE, ("Connection", "close")]
    if rejection.wait is not None:
        body["retryAfterMs"] = max(1, int(rejection.wait * 1000))
        headers.append(("Retry-After", str(max(1, -int(-rejection.wait // 1)))))
    return json_answer(_STATUS[rejection.code], body, *headers)
