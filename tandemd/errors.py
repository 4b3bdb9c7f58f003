"""What a client may be told went wrong.

A `RequestError` is the client's doing or the moment's: it becomes an ERROR message and changes nothing.
Any other exception is a fault of ours: it is logged with its traceback and reported as code "internal".
"""


class RequestError(Exception):
    """A command that is not carried out.

    code: a word that programs can act on; `CODES` lists them with their meaning.
    text: a sentence for people, naming the field or the rule.
    retry_after: milliseconds after which trying again may help, or None if it will not.
    """

    __slots__ = ("code", "text", "retry_after")

    def __init__(self, code: str, text: str, retry_after: int | None = None):
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_after = retry_after


CODES: dict[str, str] = {
    "bad_message": "the frame is not a JSON object, or a field is missing or has a wrong type or range",
    "unknown_type": "the server knows no message of this type",
    "not_joined": "this connection is in no room; send JOIN first",
    "detached": "another connection has taken this member over; send JOIN to take it back",
    "forbidden": "this member may not do that in this room",
    "bad_pin": "the room has a PIN, and `pin` is missing or wrong",
    "unauthorized": "the server requires a valid token for this room and user id in `auth`",
    "bad_user": "this user id cannot be used",
    "identity_conflict": "this user id is in the room; the JOIN stays pending until it is free",
    "room_full": "the room has as many members as it may have; the JOIN stays pending",
    "kicked": "the host removed this user id from the room a short while ago",
    "banned": "the host has banned this user id, or newcomers from this address, for the life of the room",
    "locked": "the host has locked the room; the JOIN stays pending until it is unlocked",
    "bad_url": "this server does not allow the title's URL",
    "forgotten": "the command's `id` is too old to tell whether it was carried out; it is not carried out now",
    "too_large": "the command would change too many bytes of the room at once",
    "mailbox_full": "the addressed member is not connected, and its mailbox is full",
    "no_such_member": "the addressed member is not in this room",
    "unavailable": "the server cannot carry this out at the moment; a JOIN stays pending",
    "rate_limited": "too many of these in too short a time; a JOIN stays pending and is carried out as soon as possible",
    "idle": "the client sent neither JOIN nor PING in time; the connection is closed",
    "shutting_down": "the server is about to stop; reconnect after a moment",
    "internal": "a fault of the server; it has been logged",
}

MAILBOX_FULL = RequestError(
    "mailbox_full", "This member is not connected, and as many bytes wait for it as may (limits.mailbox_bytes).", 5000
)
