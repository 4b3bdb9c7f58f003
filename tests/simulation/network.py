"""Byte streams between machines: delay, jitter, back-pressure, and the ways in which a connection fails."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from .world import Call, Machine, World

WINDOW_BYTES = 64 * 1024
"""Bytes of one direction that are on their way or not read yet."""
ACCEPT_SECONDS = 0.1
"""Time between two attempts of a process without free file descriptors to accept connections."""
BUFFER_BYTES = 64 * 1024
"""Unsent bytes from which on a producer is paused."""


class Delays:
    """The time that bytes take on the connections of one kind: `base` plus a random part up to `jitter`, in seconds.

    split: the share of chunks that arrive in two pieces.
    """

    def __init__(self, base: float, jitter: float, split: float = 0.0):
        self.base = base
        self.jitter = jitter
        self.split = split

    def draw(self, random: Random) -> float:
        return self.base + random.random() * self.jitter


class Network:
    """All ports and connections. delays: for an address, those of new connections to it."""

    def __init__(self, world: World):
        self.world = world
        self.random = world.random("network")
        self.ports: dict[int | str, Port] = {}
        self.delays: Callable[[int | str, str], Delays] = lambda address, peer: Delays(0.01, 0.01)
        self.blocked: dict[int | str, None] = {}
        """Addresses to which no new connection gets through."""
        self.on_bytes: Callable[[bytes], None] = lambda data: None
        world.network = self

    def listen(self, machine: Machine, address: int | str, factory: Any) -> Port:
        assert address not in self.ports, address
        port = self.ports[address] = Port(self, machine, address, factory)
        factory.doStart()
        return port

    def connect(self, machine: Machine, address: int | str, factory: Any, timeout: float, source: str) -> Connector:
        return Connector(self, machine, address, factory, timeout, source)

    def connections(self, address: int | str) -> list[Side]:
        """Return the connecting sides of all connections to an address."""
        return [side for side in self._sides() if side.address == address and side.is_client]

    def _sides(self) -> list[Side]:
        machines: dict[Machine, None] = {}
        for port in self.ports.values():
            machines[port.machine] = None
        return [side for machine in machines for other in machine.sides for side in (other, other.peer)]


@implementer(IListeningPort)
class Port:
    def __init__(self, network: Network, machine: Machine, address: int | str, factory: Any):
        self.network = network
        self.machine = machine
        self.address = address
        self.factory = factory
        self._pending: list[Side] = []
        machine.ports[self] = None

    def accept(self, side: Side) -> None:
        """Accept a connection, when the process may open one more file."""
        if not self.machine.out_of_files:
            side.accept(self.factory)
        elif self.machine.ports.get(self, 0) is None:
            self._pending.append(side)
            if len(self._pending) == 1:
                self.machine.callLater(ACCEPT_SECONDS, self._accept_pending)

    def _accept_pending(self) -> None:
        if self.machine.out_of_files:
            self.machine.callLater(ACCEPT_SECONDS, self._accept_pending)
            return
        pending, self._pending = self._pending, []
        for side in pending:
            side.accept(self.factory)

    def startListening(self) -> None:
        pass

    def stopListening(self) -> Deferred[None]:
        if self.network.ports.pop(self.address, None) is not None:
            self.machine.ports.pop(self, None)
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> Any:
        return _address(self.address, "10.0.0.1")


def _address(address: int | str, host: str) -> Any:
    return UNIXAddress(address) if isinstance(address, str) else IPv4Address("TCP", host, address)


@implementer(IConnector)
class Connector:
    """One attempt to connect."""

    def __init__(self, network: Network, machine: Machine, address: int | str, factory: Any, timeout: float, host: str):
        self._network = network
        self._machine = machine
        self._address = address
        self._factory = factory
        self._host = host
        self._side: Side | None = None
        self._over = False
        self._timer: Call | None = machine.callLater(timeout, self._fail, TimeoutError())
        self._delays = network.delays(address, host)
        factory.doStart()
        factory.startedConnecting(self)
        world = network.world
        if machine.out_of_files:
            machine.callLater(0, self._fail, ConnectError(24, "Too many open files"))
        elif not self._over and address not in network.blocked:
            world.outside.callLater(self._delays.draw(network.random), self._arrive)

    def _arrive(self) -> None:
        port = self._network.ports.get(self._address)
        delay = self._delays.draw(self._network.random)
        if port is None or port.machine.dead:
            self._machine.callLater(delay, self._fail, ConnectionRefusedError())
            return
        number = 1024 + self._network.world.number() % 60000
        near = Side(self._network, self._machine, self._address, self._delays, True)
        far = Side(self._network, port.machine, self._address, self._delays, False)
        near.peer, far.peer = far, near
        near.names = _address(self._address, "10.0.0.1"), _address(number, self._host or "127.0.0.1")
        far.names = near.names[1], near.names[0]
        port.machine.sides[far] = None
        self._machine.sides[near] = None
        port.machine.callLater(0, port.accept, far)
        self._machine.callLater(delay, self._connected, near)

    def _connected(self, side: Side) -> None:
        if self._over:
            side.abortConnection()
            return
        self._end()
        self._side = side
        protocol = self._factory.buildProtocol(side.getPeer())
        if protocol is None:
            side.abortConnection()
        else:
            side.start(protocol)

    def _end(self) -> None:
        self._over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _fail(self, error: Exception) -> None:
        if not self._over:
            self._end()
            self._factory.clientConnectionFailed(self, Failure(error))
            self._factory.doStop()

    # IConnector

    def stopConnecting(self) -> None:
        self._fail(UserError())

    def disconnect(self) -> None:
        if self._side is not None:
            self._side.loseConnection()
        else:
            self.stopConnecting()

    def connect(self) -> None:
        raise NotImplementedError

    def getDestination(self) -> Any:
        return _address(self._address, "10.0.0.1")


@implementer(ITCPTransport, IPushProducer)
class Side:
    """One end of a connection, as a transport.

    held: whether nothing that this end sends arrives, until `release`.
    unread: whether this end reads nothing, as a process that is stuck.
    """

    bufferSize = 1 << 16
    disconnecting = False

    def __init__(self, network: Network, machine: Machine, address: int | str, delays: Delays, is_client: bool):
        self._network = network
        self.machine = machine
        self.address = address
        self.is_client = is_client
        self.delays = delays
        self.peer: Side
        self.names: tuple[Any, Any] = None, None
        self.protocol: Any = None
        self.connected = False
        self.held = False
        self.disconnected = False
        self._over = False
        self._unsent = bytearray()
        self._on_the_way = 0
        self._last_arrival = 0.0
        self._arriving = 0
        self._is_cut = False
        self._withheld: list[tuple[str, bytes]] = []
        self._caught = 0
        """How many of these were already on their way, before all that was sent since."""
        self._inbox = bytearray()
        self._end: Exception | None = None
        self._paused = False
        self._scheduled = False
        self._producer: Any = None
        self._is_streaming = False
        self._producer_paused = False

    # -- from the network

    def accept(self, factory: Any) -> None:
        if self._over:
            return
        protocol = factory.buildProtocol(self.getPeer())
        if protocol is None:
            self.abortConnection()
        else:
            self.start(protocol)

    def start(self, protocol: Any) -> None:
        self.protocol = protocol
        self.connected = True
        protocol.makeConnection(self)
        self._read_later()

    def _send(self, kind: str, data: bytes = b"") -> None:
        if self._is_cut:
            return
        if self.held:
            self._withheld.append((kind, data))
            return
        now = self._network.world.now
        random = self._network.random
        if kind == "data" and self.delays.split and len(data) > 1 and random.random() < self.delays.split:
            at = random.randrange(1, len(data))
            self._dispatch(now, "data", data[:at])
            data = data[at:]
        self._dispatch(now, kind, data)

    def _dispatch(self, now: float, kind: str, data: bytes) -> None:
        arrival = max(self._last_arrival, now + self.delays.draw(self._network.random))
        self._last_arrival = arrival
        self._arriving += 1
        # The kernel of the peer receives, also while its process is frozen.
        self._network.world.outside.callLater(arrival - now, self._arrive, kind, data)

    def _arrive(self, kind: str, data: bytes) -> None:
        peer = self.peer
        self._arriving -= 1
        if self._is_cut:
            return
        if self.held:
            self._withheld.insert(self._caught, (kind, data))
            self._caught += 1
            return
        if peer._over or peer.machine.dead:
            self._on_the_way = 0
            if kind == "data" and not self._over:
                self._network.world.outside.callLater(0, self._reset)
            return
        if kind == "data":
            self._network.on_bytes(data)
            peer._inbox += data
            world, machine = self._network.world, peer.machine
            is_last = not self._arriving or self._last_arrival > world.now
            if is_last and peer.connected and not peer._scheduled and not peer._paused and not machine.frozen:
                world.current = machine
                peer._read()
                return
        elif kind == "end":
            peer._end = peer._end or ConnectionDone()
        else:
            peer._reset()
            return
        peer._read_later()

    def _reset(self) -> None:
        """The connection is reset: bytes that were not read are lost."""
        if not self._over:
            self._inbox.clear()
            self._end = ConnectionLost()
            self._read_later()

    def _read_later(self) -> None:
        if self.connected and not self._scheduled and (self._end is not None or (self._inbox and not self._paused)):
            self._scheduled = True
            self.machine.callLater(0, self._read)

    def _read(self) -> None:
        self._scheduled = False
        if self._over or not self.connected:
            return
        if self._inbox and not self._paused:
            data = bytes(self._inbox[: self.bufferSize])
            del self._inbox[: self.bufferSize]
            self.peer._was_read(len(data))
            self.protocol.dataReceived(data)
            self._read_later()
        elif self._end is not None and not (self._inbox and isinstance(self._end, ConnectionDone)):
            self._lose(self._end)

    def _was_read(self, count: int) -> None:
        self._on_the_way = max(0, self._on_the_way - count)
        if self._unsent and not self._over:
            self.machine.callLater(0, self._push)

    def _lose(self, reason: Exception) -> None:
        if self._over:
            return
        self._over = self.disconnected = True
        self.connected = False
        self.machine.sides.pop(self, None)
        self._unsent.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if self.protocol is not None:
            self.protocol.connectionLost(Failure(reason))

    # -- faults

    def cut(self) -> None:
        """Lose the connection: each end notices by itself, and bytes on their way are lost."""
        for side in (self, self.peer):
            side._withheld.clear()
            side._is_cut = True
            self._network.world.outside.callLater(side.delays.draw(self._network.random), side._reset)

    def hold(self) -> None:
        """Let nothing that this end sends arrive, and keep it."""
        self.held = True

    def release(self) -> None:
        """Let everything arrive that was held."""
        self.held = False
        withheld, self._withheld, self._caught = self._withheld, [], 0
        for kind, data in withheld:
            self._dispatch(self._network.world.now, kind, data)

    def close_by_kernel(self) -> None:
        """Close after the end of the process: its peer receives everything that was sent."""
        if not self._over:
            self._over = True
            self.machine.sides.pop(self, None)
            self._send("end")

    # -- ITransport

    def write(self, data: bytes) -> None:
        if not data or self.disconnecting or self._over:
            return
        self._unsent += data
        self._push()
        if self._unsent and len(self._unsent) > BUFFER_BYTES and self._producer is not None and self._is_streaming:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def _push(self) -> None:
        if self._over:
            return
        room = WINDOW_BYTES - self._on_the_way
        if self._unsent and room > 0:
            data = bytes(self._unsent[:room])
            del self._unsent[:room]
            self._on_the_way += len(data)
            self._send("data", data)
        if self._unsent:
            return
        if self._producer is not None and (self._producer_paused or not self._is_streaming):
            self._producer_paused = False
            self.machine.callLater(0, self._resume_producer)
        elif self.disconnecting:
            self._finish()

    def _resume_producer(self) -> None:
        if self._producer is not None and not self._over and not self._producer_paused:
            self._producer.resumeProducing()

    def _finish(self) -> None:
        self._send("end")
        self.machine.callLater(0, self._lose, ConnectionDone())

    def loseConnection(self, *args: Any) -> None:
        if self.disconnecting or self._over:
            return
        self.disconnecting = True
        if not self._unsent and self._producer is None:
            self._finish()

    def abortConnection(self) -> None:
        if self._over or (self.disconnecting and not self._unsent and self.protocol is None):
            return
        self.disconnecting = True
        self._inbox.clear()
        self._send("reset")
        if self.protocol is None:
            self._over = True
            self.machine.sides.pop(self, None)
        else:
            self.machine.callLater(0, self._lose, ConnectionAborted())

    def getPeer(self) -> Any:
        return self.names[0]

    def getHost(self) -> Any:
        return self.names[1]

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self._send("end")

    # -- producers

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("a producer is registered")
        if self._over:
            producer.stopProducing()
            return
        self._producer, self._is_streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.disconnecting and not self._over and not self._unsent:
            self._finish()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._read_later()

    def stopProducing(self) -> None:
        self.loseConnection()
