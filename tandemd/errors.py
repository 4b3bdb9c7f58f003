"""Errors that clients are told: codes of ERROR messages, and codes of close frames.

A `RequestError` rejects one command: it becomes an ERROR message and changes nothing. Any other exception is a fault of the
server: it is logged with its traceback and reported with the code "internal".
"""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """The `code` of an ERROR. `ERROR_MEANINGS` documents its members."""

    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    NOT_JOINED = "not_joined"
    DETACHED = "detached"
    FORBIDDEN = "forbidden"
    BAD_PIN = "bad_pin"
    UNAUTHORIZED = "unauthorized"
    BAD_USER = "bad_user"
    IDENTITY_CONFLICT = "identity_conflict"
    ROOM_FULL = "room_full"
    KICKED = "kicked"
    BANNED = "banned"
    LOCKED = "locked"
    BAD_URL = "bad_url"
    STALE = "stale"
    FORGOTTEN = "forgotten"
    TOO_LARGE = "too_large"
    MAILBOX_FULL = "mailbox_full"
    NO_SUCH_MEMBER = "no_such_member"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    IDLE = "idle"
    INTERNAL = "internal"
    NO_OTHER_NODE = "no_other_node"
    """For the administration interface, which answers it with an HTTP status. No ERROR has it."""


ERROR_MEANINGS: dict[ErrorCode, str] = {
    ErrorCode.BAD_MESSAGE: "the frame is not a JSON object, or a field is missing or has a wrong type or range",
    ErrorCode.UNKNOWN_TYPE: "the server knows no message of this type",
    ErrorCode.NOT_JOINED: "this connection is in no room; send JOIN first",
    ErrorCode.DETACHED: "another connection has taken this member over; send JOIN to take it back",
    ErrorCode.FORBIDDEN: "this member may not do that in this room",
    ErrorCode.BAD_PIN: "the room has a PIN, and `pin` is missing or wrong",
    ErrorCode.UNAUTHORIZED: "the server requires a valid token for this room and user id in `auth`",
    ErrorCode.BAD_USER: "this user id cannot be used",
    ErrorCode.IDENTITY_CONFLICT: "this user id is in the room; the JOIN stays pending until it is free",
    ErrorCode.ROOM_FULL: "the room has as many members as it may have; the JOIN stays pending",
    ErrorCode.KICKED: "the host removed this user id from the room a short while ago",
    ErrorCode.BANNED: "the host has banned this user id, or newcomers from this address, for the life of the room",
    ErrorCode.LOCKED: "the host has locked the room; the JOIN stays pending until it is unlocked, or the host lets it in",
    ErrorCode.BAD_URL: "this server does not allow the title's URL",
    ErrorCode.STALE: "the sender had not seen the present title of the room; ROOM_STATE comes first, with the present state",
    ErrorCode.FORGOTTEN: (
        "the command's `id` is too old to tell whether it was carried out; it is not carried out now"
    ),
    ErrorCode.TOO_LARGE: "the command would change too many bytes of the room at once",
    ErrorCode.MAILBOX_FULL: "the addressed member is not connected, and its mailbox is full",
    ErrorCode.NO_SUCH_MEMBER: "the addressed member is not in this room",
    ErrorCode.UNAVAILABLE: "the server cannot carry this out at the moment; a JOIN stays pending",
    ErrorCode.RATE_LIMITED: (
        "too many of these in too short a time; a JOIN stays pending and is carried out as soon as possible"
    ),
    ErrorCode.IDLE: "the client sent neither JOIN nor PING in time; the connection is closed",
    ErrorCode.INTERNAL: "a fault of the server; it has been logged",
}
"""The codes that ERROR messages can have, in the order of the protocol reference, which is generated from it."""


class CloseCode(IntEnum):
    """Close codes of WebSocket connections (RFC 6455, section 7.4, and IANA's registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """Never sent: the peer's close frame had no code."""
    ABNORMAL = 1006
    """Never sent: the connection ended without a close frame."""
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012


class RequestError(Exception):
    """Reject a command.

    code: the reason, for programs.
    text: a sentence that names the field or the rule, and the remedy.
    retry_after: milliseconds after which another try may succeed; None if it will not.
    limit: the limit that defers a JOIN; None for another reason.
    """

    __slots__ = ("code", "text", "retry_after", "limit")

    def __init__(self, code: ErrorCode, text: str, retry_after: int | None = None):
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_after = retry_after
        self.limit: str | None = None


INTERNAL = RequestError(ErrorCode.INTERNAL, "The server made a mistake; it has been logged.")

MAILBOX_FULL = RequestError(
    ErrorCode.MAILBOX_FULL,
    "This member is not connected, and its mailbox is full (limits.mailbox_bytes).",
    5000,
)
