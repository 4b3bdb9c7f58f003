"""Endpoints for load balancers and monitoring: /health and /metrics."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from ..interfaces import INodeStatus
from .client_addresses import Addresses
from .requests import has_bearer
from .responses import NO_STORE, Endpoint, HttpError, Response, json_answer

CACHE_SECONDS = 1.0
"""Time for which a copy of the metrics is served."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(Endpoint):
    """/health: the process is alive. /health/ready: the node accepts clients.

    The node is ready if it has no reason why a load balancer should send no clients.
    """

    def __init__(self, node_id: str, status: INodeStatus, addresses: Addresses):
        self._node_id = node_id
        self._status = status
        self._addresses = addresses

    def answer(self, request: Request, path: list[str]) -> Response:
        if not path:
            return json_answer(200, {"status": "ok", "nodeId": self._node_id}, NO_STORE)
        if path != ["ready"]:
            raise HttpError(404, "Not found")
        reasons = list(self._status.readiness())
        body: dict[str, object] = {"status": "unready" if reasons else "ready", "nodeId": self._node_id}
        if reasons:
            body["reasons"] = reasons
        warnings = [*self._status.warnings(), *self._addresses.warnings()]
        if warnings:
            body["warnings"] = warnings
        return json_answer(503 if reasons else 200, body, NO_STORE)


class MetricsEndpoint(Endpoint):
    """/metrics: the metrics for Prometheus.

    text: renders them. It takes some 10 ms, so one copy is served for `CACHE_SECONDS`.
    token: the bearer token that a scraper must show; '': none.
    """

    plain = True

    def __init__(self, text: Callable[[], bytes], clock: IReactorTime, token: str = ""):
        self._text = text
        self._clock = clock
        self._token = token
        self._rendered = b""
        self._until = 0.0

    def answer(self, request: Request, path: list[str]) -> Response:
        if path:
            raise HttpError(404, "Not found")
        if self._token and not has_bearer(request, self._token):
            raise HttpError(401, "The request needs the token of web.metrics_token: `Authorization: Bearer TOKEN`.")
        now = self._clock.seconds()
        # The copy must not live longer if the clock is set back.
        if not self._rendered or not self._until - CACHE_SECONDS <= now < self._until:
            self._rendered, self._until = self._text(), now + CACHE_SECONDS
        return Response(200, self._rendered, CONTENT_TYPE, (NO_STORE,))
