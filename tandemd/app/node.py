"""The composition root: the pieces of a node, their connections, and the order in which they start and stop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.application.service import IService
from twisted.logger import Logger

from .. import __version__
from .. import messages as m
from ..archive.admin_queries import AdminQueries
from ..auth.pin_hasher import PinHasher
from ..config import Config
from ..ratelimit import MessageLimits, Spending
from ..rooms.administration import Administration
from ..rooms.factory import make_room_service
from ..rooms.outbox import Outbox
from ..rooms.service import RoomService
from ..util.services import OrderedMultiService
from ..web import (
    Addresses,
    ConnectionLimiter,
    Cors,
    FastUpgrade,
    Quota,
    TandemSite,
    VideoDirectory,
    VideoReader,
    VideoThreads,
    WebServices,
    root_resource,
)
from ..web.machine_addresses import reachable_hosts
from ..web.router import Root
from ..websocket.factory import TandemFactory
from .backends import backend_of
from .clients import ClientFactory, ClientOrigins, ConnectionCounter
from .environment import Environment
from .listener import ConnectionDrain, Listener
from .metrics import NodeMetrics
from .node_status import NodeStatus
from .runtime_metrics import ReactorLag
from .settings import (
    authenticator_of,
    check_videos_dir,
    connection_limits_of,
    ice_servers_of,
    join_limits_of,
    message_rates_of,
    playback_sync_settings_of,
    protocol_settings_of,
    rules_of,
    spending_rates_of,
    web_settings_of,
)
from .state_dir import exposed
from .tls import certificates_of

PAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "web/page")
CLIENT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "web/client")


class Node:
    """One node. Its constructor makes the pieces from the outside in: store, rooms, WebSocket, HTTP, listener.

    Nothing runs before `service` starts.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, service: OrderedMultiService, environment: Environment):
        """reactor: as Twisted's interfaces describe it; its clock is monotonic, and all elapsed time is measured by it.

        service: the parent of the node's services.
        """
        self.service = service
        self._config = config
        self._reactor = reactor
        self._environment = environment
        self._wall = wall = environment.wall
        self._log_exposed_files()
        self._conn_prefix = f"{config.node_id}/{environment.random.randbytes(8).hex()}/"
        self.metrics = self._make_metrics()
        self._certificates = certificates_of(config, reactor, wall)
        self._authenticator = authenticator_of(config, reactor)
        self._ice_servers = ice_servers_of(config, reactor, environment.wall)
        self._hasher = PinHasher(reactor, environment.thread_pool)
        self._videos = VideoThreads(reactor, environment.thread_pool) if config.web.videos_dir else None
        self._backend = backend_of(config, reactor, self.metrics, self._conn_prefix, environment)
        self._outbox = Outbox(reactor, self.metrics.rooms.deliveries)
        self._spending = Spending(reactor, spending_rates_of(config)) if config.limits.enabled else None
        self._rooms = self._make_rooms()
        self._addresses = Addresses(config.web.trusted_proxies, config.endpoint.startswith("haproxy:"), reactor)
        self._cors = Cors(config.web.allowed_origins, config.titles.allowed, [config.web.invite_base_url])
        self._limiter = ConnectionLimiter(reactor, connection_limits_of(config), self.metrics.limits.rate_limited)
        self._websockets = self._make_websockets()
        self.status = self._make_status()
        self._listener = Listener(reactor, self._make_site(), config, self._certificates)
        self._drain = self._make_drain()
        self._show_certificate_expiry()
        for child in self._services():
            child.setServiceParent(service)

    # ---- pieces ----------------------------------------------------------------------------------------------------

    def _make_metrics(self) -> NodeMetrics:
        received = (str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES)
        return NodeMetrics(__version__, self._config.node_id, received=received)

    def _make_rooms(self) -> RoomService:
        config, authenticator = self._config, self._authenticator
        return make_room_service(
            self._backend.store,
            self._conn_prefix,
            rules_of(config),
            self._reactor,
            self._outbox,
            self.metrics.rooms,
            self._hasher.hash_pin,
            playback_sync_settings_of(config),
            authenticator.authenticate if authenticator is not None else lambda join: None,
            join_limits_of(config),
            self._spending,
            self._environment.random,
            self._ice_servers.servers_for,
        )

    def _make_websockets(self) -> TandemFactory:
        config, reactor = self._config, self._reactor
        limits = (
            MessageLimits(reactor, message_rates_of(config), self._limiter.penalize) if config.limits.enabled else None
        )
        clients = ClientFactory(
            self._conn_prefix,
            ClientOrigins(self._addresses, self._cors),
            self._rooms,
            self._outbox,
            self._backend.store.clock,
            self.metrics.connections,
            self._spending,
            limits,
        )
        return TandemFactory(
            reactor,
            protocol_settings_of(config),
            clients.connect,
            ConnectionCounter(self._limiter, self.metrics.connections).count,
            self.metrics.connections.connections_dropped,
            limits,
            self._environment.random,
            lambda status: self.metrics.web.count(status, True),
        )

    def _make_status(self) -> NodeStatus:
        return NodeStatus(
            self._config.node_id,
            self.service,
            self._backend,
            self._rooms,
            self._websockets,
            self._certificates,
            self._reactor,
            self._wall,
        )

    def _make_site(self) -> TandemSite:
        config, limits, limited = self._config, self._config.limits, self.metrics.limits.rate_limited
        root = self._make_root()
        handshakes = connections = None
        if limits.enabled:
            handshakes = Quota(limits.handshakes, limits.handshakes_per_address, limited, "pending_handshakes")
            connections = Quota(
                limits.http_connections, limits.http_connections_per_address, limited, "http_connections"
            )
        return TandemSite(
            root,
            self._reactor,
            limits.handshake_timeout,
            handshakes,
            connections,
            self._addresses.early,
            FastUpgrade(self._websockets, root.refusal) if config.fast_path else None,
            self.metrics.web.count,
        )

    def _make_root(self) -> Root:
        services = WebServices(
            websocket=WebSocketResource(self._websockets),
            rooms=self._rooms.directory,
            metrics_text=self._metrics_text,
            addresses=self._addresses,
            limiter=self._limiter,
            lookups_refused=self.metrics.limits.lookups_refused,
            cors=self._cors,
            administration=self._make_administration(),
            hosts=lambda: reachable_hosts(self._listener.address),
            videos=self._make_videos(),
        )
        settings = web_settings_of(self._config, PAGE, CLIENT)
        return root_resource(settings, self.status, services, self._reactor, self._wall)

    def _make_videos(self) -> VideoReader | None:
        if self._videos is None:
            return None
        directory = self._config.videos_path
        check_videos_dir(directory)
        return VideoReader(VideoDirectory(directory), self._videos.run_read, self._videos.run_list)

    def _make_administration(self) -> Administration:
        return Administration(
            self._backend.store,
            self._rooms.open,
            AdminQueries(self._backend.database),
            self.status.about,
            self._set_drained,
            self._backend.has_peers,
        )

    def _make_drain(self) -> ConnectionDrain:
        return ConnectionDrain(
            self._websockets,
            self._reactor,
            self.metrics.process.draining,
            self._backend.has_peers,
            self._config.drain_seconds,
            self._listener.leave_to_next,
        )

    def _services(self) -> Iterator[IService]:
        """Return the services in the order in which they start. They stop in the opposite order."""
        if self._authenticator is not None:
            yield self._authenticator
        if self._certificates is not None:
            yield self._certificates
        yield self._ice_servers
        yield from self._backend.services(self._rooms)
        yield self._hasher
        if self._videos is not None:
            yield self._videos
        yield self._rooms
        yield ReactorLag(self._reactor, self.metrics.process.reactor_lag)
        yield self._listener
        # Stops before the listener: during the drain the port still answers that the node is not ready.
        yield self._drain

    # ---- operation -------------------------------------------------------------------------------------------------

    @property
    def reloads(self) -> bool:
        """Whether `reload` has files to read."""
        return self._certificates is not None or self._authenticator is not None or self._ice_servers.has_files

    def reload(self) -> None:
        """Read the files again that may change while the node runs: TLS certificate, keys of auth tokens, TURN secret."""
        if self._certificates is not None:
            self._certificates.reload()
        if self._authenticator is not None:
            self._authenticator.reload()
        self._ice_servers.reload()

    def _set_drained(self, undo: bool) -> int:
        """Close the node to clients, or open it again if `undo`. Return the number of open connections."""
        self.status.drained = not undo
        self.metrics.process.draining.value = not undo
        if not undo:
            self._drain.send_away()
        return self.status.connection_count()

    def _metrics_text(self) -> bytes:
        self.status.measure(self.metrics)
        return self.metrics.render()

    def _log_exposed_files(self) -> None:
        for text in exposed(self._config.state_dir, self._config.auth.keys, self._config.calls.turn_secret_file):
            self._log.warn("{text}", event="file_exposed", text=text)

    def _show_certificate_expiry(self) -> None:
        if self._certificates is not None:
            certificates = self._certificates
            self.metrics.process.certificate_expiry.read = lambda: certificates.expires
