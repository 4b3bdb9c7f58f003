"""One node put together: which pieces there are, who is given what, and in which order they start and stop."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.logger import Logger

from .. import __version__
from .. import messages as m
from ..archive.admin_queries import AdminQueries
from ..auth.pin_hasher import PinHasher
from ..config import Config
from ..errors import CloseCode
from ..metrics import GcPause, Metrics, ReactorLag
from ..ratelimit import MessageLimits, MessageRates, Spending, SpendingRates
from ..rooms.administration import Administration
from ..rooms.joining.limits import NO_LIMITS, JoinLimits
from ..rooms.playback_sync import PlaybackSyncSettings
from ..rooms.service import RoomService
from ..rooms.session import Outbox, Session
from ..rules.engine import Rules
from ..rules.settings import RuleSettings
from ..rules.title_allowlist import CLIP, TitleAllowlist
from ..util.services import OrderedMultiService
from ..web import Addresses, ConnectionLimiter, ConnectionLimits, Cors, FastUpgrade, Quota, TandemSite, root_resource
from ..websocket.client import ClientConnection
from ..websocket.protocol import ProtocolSettings, TandemFactory, TandemProtocol
from ..websocket.send_queue import SendQueueLimits
from .backends import backend_of
from .listener import ConnectionDrain, Listener
from .runtime_tuning import RuntimeTuning
from .settings import authenticator_of
from .state_dir import exposed

PAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "web/page")


class Node:
    """The pieces of a running node. `service` is what to start and stop."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, top: OrderedMultiService, wall: Callable[[], float]):
        """reactor: as the interfaces of Twisted want it; all elapsed time is that of its clock, which is monotonic.

        top: the service to add the others to. wall: the wall clock, in seconds since 1970, which may be set at any time.
        """
        self.service = top
        self.reactor = reactor
        self.config = config
        self._wall = wall
        for text in exposed(config.state_dir, config.auth.keys):
            self._log.warn("{text}", text=text)
        self.prefix = f"{config.node_id}/{secrets.token_hex(8)}/"
        self.metrics = metrics = Metrics(
            __version__,
            config.node_id,
            received=(str(kind.__struct_config__.tag) for kind in m.CLIENT_MESSAGES),
        )
        self.stores = backend_of(config, reactor, metrics, self.prefix, wall)
        self.outbox = Outbox(reactor, self._delivered)
        self.hasher = PinHasher(reactor)
        self._authenticator = authenticator_of(config, reactor)
        if self._authenticator is not None:
            self._authenticator.setServiceParent(top)
        self.spending = Spending(reactor, spending_of(config)) if config.limits.enabled else None
        self.rooms = RoomService(
            self.stores.store,
            rules_of(config),
            reactor,
            self.outbox,
            metrics,
            self.hasher.hash_pin,
            positions_of(config),
            self._authenticator.authenticate if self._authenticator is not None else lambda join: None,
            join_limits_of(config),
            self.spending,
        )
        limits = config.limits
        self.addresses = Addresses(config.web.trusted_proxies, config.endpoint.startswith("haproxy:"), reactor)
        self.cors = Cors(config.web.allowed_origins, config.titles.allowed, [config.web.invite_base_url])
        self.door = ConnectionLimiter(reactor, door_of(config), metrics.rate_limited)
        self.limits = MessageLimits(reactor, rates_of(config), self.door.penalize) if limits.enabled else None
        self.factory = TandemFactory(
            reactor,
            ProtocolSettings(
                limits.frame_bytes,
                config.fast_path,
                SendQueueLimits(limits.output_bytes, limits.output_stall),
                limits.join_timeout if limits.enabled else 0.0,
            ),
            self._connect,
            self._counted,
            self._given_up,
            self.limits,
            getattr(reactor, "websockets", None),
        )
        self._numbers = 0
        self._drained = False
        self._started_at = reactor.seconds()
        administration = Administration(
            self.stores.store,
            self.rooms.open,
            AdminQueries(self.stores.database),
            self._about,
            self._drain,
            self.stores.has_peers,
        )
        root = root_resource(
            websocket=WebSocketResource(self.factory),
            rooms=self.rooms.directory,
            readiness=self.readiness,
            warnings=self._warnings,
            metrics_text=self._metrics_text,
            connections=lambda: len(self.factory),
            taking=lambda: bool(self.service.running) and not self._drained,
            node_id=config.node_id,
            version=__version__,
            started_at=self._started_at,
            clock=reactor,
            wall=wall,
            page_directory=PAGE,
            addresses=self.addresses,
            door=self.door,
            cors=self.cors,
            titles=[url for url in config.titles.allowed if url != CLIP],
            redirect_target=config.web.redirect_target,
            invite_base_url=config.web.invite_base_url,
            short_id_wait=config.web.short_id_wait,
            code_lookups=limits.code_lookups if limits.enabled else 0,
            code_lookups_total=limits.code_lookups_total if limits.enabled else 0,
            lookup_refused=self._lookup_refused,
            administration=administration,
            admin_token=config.admin.token,
            metrics_token=config.web.metrics_token,
            hsts=config.tls.hsts,
        )
        site = TandemSite(
            root,
            reactor,
            limits.handshake_timeout,
            Quota(limits.handshakes, limits.handshakes_per_address, self._dropped) if limits.enabled else None,
            Quota(limits.http_connections, limits.http_connections_per_address, self._crowded_out)
            if limits.enabled
            else None,
            self.addresses.early,
            FastUpgrade(self.factory, root.refusal) if config.fast_path else None,
        )
        self.listener = Listener(reactor, site, config, wall)
        self.connections = ConnectionDrain(
            self.factory,
            reactor,
            metrics,
            self.stores.has_peers,
            config.drain_seconds,
            self.listener.leave_to_next,
        )
        self._certificates = self.listener.certificates
        if self._certificates is not None:
            certificates = self._certificates
            certificates.setServiceParent(top)
            metrics.certificate_expiry.read = lambda: certificates.expires
        for child in (
            *self.stores.services(self.rooms),
            self.hasher,
            self.rooms,
            ReactorLag(reactor, metrics.reactor_lag),
            GcPause(reactor.seconds, metrics.gc_pause),
            self.listener,
            # The first to stop: while clients are sent away, the port still answers that the node is not ready.
            self.connections,
            RuntimeTuning(),
        ):
            child.setServiceParent(top)

    def readiness(self) -> list[str]:
        """Return the reasons why no clients should be sent to this node."""
        if not self.service.running:
            return ["the node is stopping"]
        if not self.service.started:
            return ["the node is starting"]
        if self._drained:
            return ["the node was drained by an administrator"]
        return self.stores.ready()

    @property
    def reloads(self) -> bool:
        """Whether there is anything to reload."""
        return self._certificates is not None or self._authenticator is not None

    def reload(self) -> None:
        """Read again what may change while the node runs: the TLS certificate, and the keys of tokens."""
        if self._certificates is not None:
            self._certificates.reload()
        if self._authenticator is not None:
            self._authenticator.reload()

    def _warnings(self) -> list[str]:
        return [*self.stores.warnings(), *(self._certificates.warnings() if self._certificates is not None else [])]

    def _about(self) -> dict[str, object]:
        """Return what an administrator sees of this node."""
        counts = self.rooms.directory.counts()
        return {
            "nodeId": self.config.node_id,
            "version": __version__,
            "uptime": round(self.reactor.seconds() - self._started_at, 3),
            "time": self._wall(),
            "storeTime": self.stores.store.now(),
            "drained": self._drained,
            "reasons": self.readiness(),
            "warnings": self._warnings(),
            "connections": len(self.factory),
            "rooms": counts["rooms"],
            "members": counts["members"],
        }

    def _drain(self, undo: bool) -> int:
        """Send the clients away and take no new ones until it is undone; return how many there are."""
        self._drained = not undo
        self.metrics.draining.value = not undo
        if not undo:
            self.connections.send_away()
        return len(self.factory)

    def _connect(self, protocol: TandemProtocol) -> ClientConnection:
        self._numbers += 1
        headers = protocol.http_headers or {}
        forwarded, origin = headers.get("x-forwarded-for"), headers.get("origin")
        peer = protocol.transport.getPeer() if protocol.transport is not None else None
        address = self.addresses.rule(peer, [forwarded] if forwarded else [])
        session = Session(f"{self.prefix}{self._numbers}", address, protocol, self.outbox)
        if self.spending is not None:
            session.meter = self.spending.address(address)
        return ClientConnection(
            session, self.rooms, self.stores.store, self.metrics, self.limits, self._own(origin, headers)
        )

    def _own(self, origin: str | None, headers: dict[str, str]) -> bool:
        """Say whether a client's address answers for it, which it does not for any page that happens to be open there."""
        return self.cors.familiar(
            None if origin is None else origin.encode("utf-8", "replace"), headers.get("host", "")
        )

    def _dropped(self) -> None:
        self.metrics.rate_limited["pending_handshakes"] += 1

    def _crowded_out(self) -> None:
        self.metrics.rate_limited["http_connections"] += 1

    def _counted(self, address: str, code: int | None, opened: bool) -> None:
        if opened:
            self.door.opened(address)
            self.metrics.opened.value += 1
        else:
            self.door.closed(address)
            self.metrics.closed[str(code) if code in _CLOSE_CODES else "other"] += 1

    def _given_up(self, reason: str) -> None:
        self.metrics.connections_dropped[reason] += 1

    def _lookup_refused(self) -> None:
        self.metrics.lookups_refused += 1

    def _delivered(self, count: int) -> None:
        self.metrics.deliveries.value += count

    def _metrics_text(self) -> bytes:
        metrics, counts = self.metrics, self.rooms.directory.counts()
        metrics.connections.value = len(self.factory)
        metrics.rooms.value = counts["rooms"]
        metrics.members.value = counts["members"]
        metrics.ready.value = not self.readiness()
        metrics.guests_out_of_sync.value = self.rooms.positions.out_of_sync_count()
        self.stores.measure()
        return metrics.render()


_CLOSE_CODES = frozenset(CloseCode)


def rules_of(config: Config) -> Rules:
    """Return the rules as the configuration sets them."""
    rooms, limits = config.rooms, config.limits
    return Rules(
        RuleSettings(
            grace=rooms.grace,
            room_ttl=rooms.room_ttl,
            host_gone=rooms.host_gone,
            kick=rooms.kick,
            gate_deadline=rooms.gate_deadline,
            gate_quorum=rooms.gate_quorum,
            gate_quorum_after=rooms.gate_quorum_after,
            members_per_room=limits.members_per_room if limits.enabled else 1_000_000,
            members_per_address=limits.members_per_address if limits.enabled else 0,
            username_length=limits.username_length,
            chat_length=limits.chat_length,
        ),
        TitleAllowlist(config.titles.allowed, limits.url_length),
    )


def rates_of(config: Config) -> MessageRates:
    """Return what one connection may send as the configuration sets it."""
    limits = config.limits
    return MessageRates(
        positions=limits.position_rate,
        candidates=limits.candidate_rate,
        descriptions=limits.description_rate,
        controls=limits.control_rate,
        chats=limits.chat_rate,
        pings=limits.ping_rate,
        joins=limits.join_rate,
        others=limits.other_rate,
        frames=limits.frame_rate,
        bytes=limits.byte_rate,
        abuse=limits.abuse_rate,
    )


def spending_of(config: Config) -> SpendingRates:
    """Return what rooms and addresses may spend as the configuration sets it."""
    limits = config.limits
    return SpendingRates(
        room_bytes=limits.room_bytes_rate,
        room_deliveries=limits.room_deliveries_rate,
        address_bytes=limits.address_bytes_rate,
        address_deliveries=limits.address_deliveries_rate,
        room_rows=limits.room_events_rate,
    )


def door_of(config: Config) -> ConnectionLimits:
    """Return who may open a WebSocket as the configuration sets it."""
    limits = config.limits
    if not limits.enabled:
        return ConnectionLimits()
    return ConnectionLimits(
        limits.connections,
        limits.connections_per_address,
        limits.connections_per_minute,
        limits.penalty,
        limits.longest_penalty,
        limits.requests_per_minute,
    )


def positions_of(config: Config) -> PlaybackSyncSettings:
    """Return how positions are dealt with as the configuration sets it."""
    rooms = config.rooms
    return PlaybackSyncSettings(
        rooms.heartbeat, rooms.drift, rooms.play_state_after, rooms.control_quiet, rooms.watching_timeout
    )


def join_limits_of(config: Config) -> JoinLimits:
    """Return how much coming in is allowed as the configuration sets it."""
    limits = config.limits
    if not limits.enabled:
        return NO_LIMITS
    return JoinLimits(
        limits.joins,
        limits.room_creations,
        limits.rooms_per_address,
        limits.rooms_per_node,
        limits.pin_tries_per_room,
        limits.pin_tries_per_address,
        limits.pending_joins,
    )
