"""Endpoint of the server's own films: /videos."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request

from ..interfaces import IRooms
from ..ratelimit.invite_lookups import InviteLookupLimiter
from ..util.lifo_semaphore import QueueFullError
from .client_addresses import Addresses
from .file_responses import file_response
from .invites import raise_if_limited
from .requests import address_of, argument, bearer, is_secure
from .responses import NO_STORE, Endpoint, HttpError, Response, json_answer
from .video_reader import VideoReader

COOKIE = "tandemd-videos"
"""The cookie with a member's resume token: a video element sends no Authorization header."""
ADMITTED_SECONDS = 60.0
"""Time for which the node remembers that a token is a member's."""
MAX_ADMITTED = 10_000
MAX_SEARCH_CHARS = 100

_NOT_FOUND = "Not found"


class MembersOnly:
    """Decides whether a request comes from a member of a room.

    limits: the limits of look-ups.
    """

    def __init__(self, rooms: IRooms, limits: InviteLookupLimiter, addresses: Addresses, clock: IReactorTime):
        self._rooms = rooms
        self._limits = limits
        self._addresses = addresses
        self._clock = clock
        self._admitted: dict[str, float] = {}

    async def check(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Return headers for the response, which let later requests pass. Raise HttpError 401 or 429."""
        shown = bearer(request)
        token = shown or (request.getCookie(COOKIE.encode()) or b"").decode("latin-1")
        if not token or not await self._is_member(request, token):
            raise HttpError(
                401,
                "Only members of a room may load these films (web.videos_access). Send the `token` of ROOM_STATE to "
                "/videos/: `Authorization: Bearer TOKEN`.",
            )
        # Without a path, the cookie is sent for this directory only, also below the path of a proxy.
        if not shown or not request.path.endswith(b"/videos/"):
            return ()
        secure = "; Secure" if is_secure(request, self._addresses) else ""
        return (("Set-Cookie", f"{COOKIE}={shown}; HttpOnly; SameSite=Strict{secure}"),)

    async def _is_member(self, request: Request, token: str) -> bool:
        now = self._clock.seconds()
        if self._admitted.get(token, 0.0) > now:
            return True
        raise_if_limited(self._limits.take_for_member(address_of(request, self._addresses)))
        if await self._rooms.room_for_token(token) is None:
            return False
        if len(self._admitted) >= MAX_ADMITTED:
            self._admitted.clear()
        self._admitted[token] = now + ADMITTED_SECONDS
        return True


class Videos(Endpoint):
    """/videos/PATH: a film. /videos/, /videos/PATH/: a list of films. /videos/?search=WORDS: films whose path has these words.

    members: admits requests; None admits all.
    """

    def __init__(self, reader: VideoReader, addresses: Addresses, members: MembersOnly | None):
        self._reader = reader
        self._addresses = addresses
        self._members = members

    async def answer(self, request: Request, path: list[str]) -> Response:
        headers = () if self._members is None else await self._members.check(request)
        try:
            if not path or not path[-1]:
                return await self._list(request, path[:-1], headers)
            return await self._film(request, path)
        except OSError:
            raise HttpError(404, _NOT_FOUND) from None

    async def _list(self, request: Request, path: list[str], headers: tuple[tuple[str, str], ...]) -> Response:
        words = argument(request, b"search", "")
        if len(words) > MAX_SEARCH_CHARS:
            raise HttpError(400, f"search: write {MAX_SEARCH_CHARS} characters at most.")
        if words and path:
            raise HttpError(400, "search: use it with /videos/ only.")
        address = address_of(request, self._addresses)
        try:
            found = await (self._reader.search(words, address) if words else self._reader.list_directory(path, address))
        except QueueFullError:
            raise HttpError(429, "Too many lists of films wait; try again in 1 s.", 1) from None
        return json_answer(200, found, NO_STORE, *headers)

    async def _film(self, request: Request, path: list[str]) -> Response:
        video = await self._reader.open(path)
        # A shared cache must not serve the films of members to others.
        cache = ("Cache-Control", "no-cache" if self._members is None else "private, no-cache")
        answer = file_response(
            request, video.version, lambda offset, size: self._reader.part(video, offset, size), (cache,)
        )
        if isinstance(answer.body, bytes):
            video.close()
        return answer
