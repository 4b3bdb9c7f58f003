"""Reading of films off the reactor's thread, and their delivery as fast as clients read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application import service
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.http import Request
from zope.interface import implementer

from ..util.fair_queue import FairQueue
from .file_range import CHUNK_BYTES
from .video_files import FilmList, OpenVideo, VideoDirectory

log = Logger()

Run = Callable[..., Deferred[Any]]
"""Calls a function with arguments, perhaps in a thread; the result is that of the function."""

READ_BYTES = 64 * 1024
"""Bytes of one read from a file."""
UNREAD_SECONDS = 120.0
"""Time within which a client must read the next part of a film. Players stop reading while they have enough, or are paused;
after that time they continue with another request."""


MAX_WAITING_LISTS = 30
"""Lists and searches of one address that wait for the thread; a school class opens the page at once."""


class VideoThreads(service.Service):
    """Threads for slow disks: four for reads, and one for lists, because a walk costs time of the interpreter."""

    name = "videos"

    def __init__(self, reactor: Any, thread_pool: Callable[[int, int, str], ThreadPool] = ThreadPool):
        """thread_pool: makes the threads, from their smallest and largest number and their name."""
        self._reactor = reactor
        self._reads = thread_pool(0, 4, "video reads")
        self._lists = thread_pool(0, 1, "video lists")

    def startService(self) -> None:
        super().startService()
        self._reads.start()
        self._lists.start()

    def stopService(self) -> None:
        super().stopService()
        self._reads.stop()
        self._lists.stop()

    def run_read(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Open or read a file. See `Run`."""
        return threads.deferToThreadPool(self._reactor, self._reads, function, *arguments)

    def run_list(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """Read directories. See `Run`."""
        return threads.deferToThreadPool(self._reactor, self._lists, function, *arguments)


class VideoReader:
    """The films of one directory, for the reactor's thread. All errors are OSError."""

    def __init__(self, directory: VideoDirectory, run_read: Run, run_list: Run):
        self._directory = directory
        self._run_read = run_read
        self._lists = FairQueue(run_list, MAX_WAITING_LISTS)

    async def list_directory(self, path: Sequence[str], address: str) -> FilmList:
        """See `VideoDirectory.list_directory`. address: the client's; addresses take turns. Raise QueueFullError."""
        found: FilmList = await self._lists.call(address, self._directory.list_directory, path)
        return found

    async def search(self, words: str, address: str) -> FilmList:
        """See `VideoDirectory.search`. address: the client's; addresses take turns. Raise QueueFullError."""
        found: FilmList = await self._lists.call(address, self._directory.search, words)
        return found

    def open(self, path: Sequence[str]) -> Deferred[OpenVideo]:
        """See `VideoDirectory.open`. A file that opens after the cancellation of the result is closed."""
        result: Deferred[OpenVideo] = Deferred()

        def opened(video: OpenVideo) -> None:
            if result.called:
                video.close()
            else:
                result.callback(video)

        def failed(failure: Failure) -> None:
            if not result.called:
                result.errback(failure)

        self._run_read(self._directory.open, path).addCallbacks(opened, failed)
        return result

    def part(self, video: OpenVideo, offset: int, size: int) -> VideoPart:
        """Return a body with a part of a film, in bytes. It closes the film."""
        return VideoPart(video, offset, size, self._run_read)


class VideoPart:
    """A part of a film. See `responses.Body`."""

    def __init__(self, video: OpenVideo, offset: int, size: int, run: Run):
        self._video = video
        self._offset = offset
        self.size = size
        self._run = run

    def send(self, request: Request) -> None:
        sender = VideoSender(request, self._video, self._offset, self.size, self._run)
        Deferred.fromCoroutine(sender.send()).addErrback(_log_failure)

    def close(self) -> None:
        self._video.close()


def _log_failure(failure: Failure) -> None:
    # The log does not contain titles, and the path is one.
    log.failure("failed to send a film", event="film_send_failed", failure=failure)


@implementer(IPushProducer)
class VideoSender:
    """Reads a part of a film and writes it, one piece at a time, and finishes the request."""

    def __init__(self, request: Request, video: OpenVideo, offset: int, size: int, run: Run):
        self._request = request
        self._video = video
        self._offset = offset
        self._left = size
        self._run = run
        self._stopped = False
        self._waiting: Deferred[None] | None = None
        self._paused = False

    async def send(self) -> None:
        """Send the part. If the file has become shorter or unreadable, the connection is closed: the client asks again."""
        request = self._request
        channel: Any = request.channel
        transport = channel.transport
        # The default is 64 KiB for each client that reads nothing.
        transport.bufferSize = CHUNK_BYTES
        channel.unread_seconds = UNREAD_SECONDS
        request.registerProducer(self, True)
        try:
            complete = await self._pieces()
        finally:
            self._video.close()
        if self._stopped:
            return
        del transport.bufferSize, channel.unread_seconds
        request.unregisterProducer()
        if not complete:
            channel.drop()
            return
        request.finish()

    async def _pieces(self) -> bool:
        """Return whether all was written."""
        while self._left and not self._stopped:
            if self._paused:
                self._waiting = Deferred()
                await self._waiting
                continue
            try:
                piece = await self._run(self._video.read, self._offset, min(READ_BYTES, self._left))
            except OSError:
                piece = b""
            if not piece:
                return False
            self._offset += len(piece)
            self._left -= len(piece)
            if not self._stopped:
                self._request.write(piece)
        return not self._left

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """Send nothing more: the client has disconnected."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
