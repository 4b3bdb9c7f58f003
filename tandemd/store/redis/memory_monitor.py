"""Measuring Redis' memory, and shortening logs when it is short."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from . import scripts
from .connection import DisconnectedError, RedisError
from .gateway import RedisGateway, info
from .keys import log_key, room_key
from .memory_pressure import SHORT_LOG_BYTES, SHORT_LOG_COMMITS
from .replies import answers
from .reseeding import BATCH_ROOMS

LOOK_SECONDS = 2.0
"""Seconds between two measurements."""


class MemoryMonitor:
    """Measures Redis' memory, and shortens logs. room_ids: returns the rooms that are open on this node."""

    _log = Logger()

    def __init__(self, gateway: RedisGateway, room_ids: Callable[[], list[str]]):
        self._gateway = gateway
        self._room_ids = room_ids

    async def look(self) -> None:
        """Report Redis' memory to `Pressure`."""
        if not self._gateway.link.usable:
            return
        try:
            about = info(await self._gateway.link.call(b"INFO", b"memory"))
        except (DisconnectedError, RedisError):
            return
        self._gateway.pressure.measured(int(about.get("used_memory", 0)), int(about.get("maxmemory", 0)))

    async def shorten_logs(self) -> None:
        """Shorten the logs of the rooms that are open here. Under pressure, each commit keeps them short."""
        room_ids = self._room_ids()
        run, arguments = (
            self._gateway.link.run,
            {"log_bytes": b"%d" % SHORT_LOG_BYTES, "log_length": b"%d" % SHORT_LOG_COMMITS},
        )
        try:
            for start in range(0, len(room_ids), BATCH_ROOMS):
                some = room_ids[start : start + BATCH_ROOMS]
                await answers(
                    [run(scripts.SHORTEN, [room_key(room_id), log_key(room_id)], arguments) for room_id in some]
                )
        except (DisconnectedError, RedisError) as error:
            self._log.warn("redis: failed to shorten logs: {error}", event="log_shortening_failed", error=str(error))
