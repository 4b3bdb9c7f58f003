"""The recovery of data that Redis has lost, from the replicas of nodes, from kept journal entries and from the archive."""

from __future__ import annotations

from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...interfaces import IArchive
from . import codec, scripts
from .cluster_membership import ClusterMembership
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway
from .journal import Journal
from .journal_consumer import ABANDONED_MILLISECONDS
from .keys import COMPLETING, JOURNAL, STORE
from .replies import answers
from .reseeding import RoomReseeder
from .room_store import RedisRoomStore

RECENT_SECONDS = 3 * ABANDONED_MILLISECONDS / 1000
"""Seconds before a loss of Redis' data. The archive may lack commits from that time, and the node that made them may be dead."""
INCOMPLETE = (
    "the archive cannot be asked, and Redis may lack rooms that only the archive has since it last lost data: rooms that it "
    "does not have, new ones too, wait for the archive"
)


class DataRecovery:
    """Restores rooms and journal entries in Redis.

    name: "node/boot/" of this node.
    settle_seconds: seconds after the opening of an incarnation in which nodes write lost entries to the journal.
    """

    _log = Logger()

    def __init__(
        self,
        gateway: RedisGateway,
        archive: IArchive,
        reseeder: RoomReseeder,
        rooms: RedisRoomStore,
        journal: Journal,
        members: ClusterMembership,
        name: str,
        settle_seconds: float,
    ):
        self._gateway = gateway
        self._archive = archive
        self._reseeder = reseeder
        self._rooms = rooms
        self._journal = journal
        self._members = members
        self._name = name
        self._settle_seconds = settle_seconds
        self._complete_for: bytes | None = None

    def warning(self) -> str:
        """Return '', or a warning for operators while rooms have to wait for the archive."""
        incarnation = self._gateway.incarnation
        lacking = incarnation is not None and self._complete_for != incarnation
        return INCOMPLETE if lacking and (self._rooms.unresolved_lookup or self._archive.ready()) else ""

    async def offer_replicas(self) -> None:
        """Offer Redis the rooms that are open on this node. Raises DisconnectedError or RedisError."""
        await self._reseeder.all(self._gateway.events.held())

    def opened(self, renewed: bool) -> None:
        """Handle the opening of an incarnation. renewed: the data may differ from the data before."""
        gateway = self._gateway
        if renewed:
            self._journal_again()
        if gateway.fresh:
            gateway.fresh = False
            gateway.tasks.spawn("restoring rooms from the archive", self._restore_archived())

    def _journal_again(self) -> None:
        """Write this node's kept entries to the journal, and recent commits of other nodes, which may be dead."""
        self._journal.again()
        since = self._members.heard_at - RECENT_SECONDS
        for room, commits in self._gateway.events.held():
            recent = [codec.encode_commit(it, messages=False) for it in commits if it.has_row and it.at >= since]
            self._journal.put(room, recent)

    async def _restore_archived(self) -> None:
        """Give an empty Redis the rooms of the archive that no node has offered, because these rooms must expire, too."""
        gateway = self._gateway
        while not gateway.stopping:
            try:
                count = await self._offer_archived()
            except DisconnectedError:
                gateway.fresh = True  # try again after the next connection
                return
            except Exception as error:
                self._log.warn(
                    "redis: cannot restore rooms from the archive yet: {error}",
                    event="room_restore_failed",
                    error=str(error),
                )
                await deferLater(gateway.clock, 2.0)
            else:
                if count:
                    self._log.info(
                        "redis: restored {count} rooms from the archive", event="rooms_restored", count=count
                    )
                return

    async def _offer_archived(self) -> int:
        """Offer the rooms of the archive; return their number. A node that opens one gives it a new epoch."""
        rooms = await self._archive.living()
        await self._reseeder.all([(room, ()) for room in rooms], absent=True)
        return len(rooms)

    async def complete(self) -> None:
        """Copy all rooms of the archive to Redis, once per incarnation. Afterwards, lookups do not ask the archive."""
        gateway, call = self._gateway, self._gateway.link.call
        number = gateway.incarnation
        if not gateway.usable or number is None or number == self._complete_for:
            return
        try:
            (current, complete, opens), first = await answers(
                [
                    call(b"HMGET", STORE, b"number", b"complete", b"opens"),
                    call(b"XRANGE", JOURNAL, b"-", b"+", b"COUNT", b"1"),
                ]
            )
            if current != number:
                return
            if complete == number:
                self._completed(number)
                return
            settled = float(opens) + self._settle_seconds
            oldest = int(first[0][0].partition(b"-")[0]) / 1000 if first else gateway.time.now()
            # Until then, the archive may not have received all changes that Redis has lost.
            if min(oldest, gateway.time.now()) < settled:
                return
            if not await call(b"SET", COMPLETING, self._name.encode(), b"NX", b"EX", b"30"):
                return  # another node does it
            try:
                await self._offer_archived()
                if await gateway.link.run(scripts.COMPLETE, [STORE], {"incarnation": number}):
                    self._completed(number)
            except Exception:  # not `finally`: a coroutine that is thrown away must not wait for Redis
                await call(b"DEL", COMPLETING)
                raise
            await call(b"DEL", COMPLETING)
        except (DisconnectedError, RedisError):
            return
        except Exception as error:
            self._log.debug(
                "redis: cannot copy rooms from the archive yet: {error}", event="room_copy_failed", error=str(error)
            )

    def _completed(self, number: bytes) -> None:
        """Note that Redis has all rooms of the archive, which may not know the end of connections of this node."""
        self._complete_for = number
        self._members.data_changed()

    def retry_lookup(self) -> None:
        """Ask the archive again for a room that it could not look up. Called every second."""
        if self._rooms.unresolved_lookup and self._gateway.usable:
            self._gateway.tasks.spawn("asking the archive again", self._retry_lookup())

    async def _retry_lookup(self) -> None:
        if await self._rooms.ask_again():
            self._gateway.events.available()
