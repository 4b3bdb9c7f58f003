"""What a client may be told went wrong.

A `Refused` is the client's doing or the moment's: it becomes an ERROR message and changes nothing.
Any other exception is a fault of ours: it is logged with its traceback and reported as code "internal".
"""


class Refused(Exception):
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
    "unknown_type": "there is no such message type",
    "not_joined": "this connection is in no room; send JOIN first",
    "detached": "another connection has taken this member over; send JOIN to take it back",
    "forbidden": "this member may not do that in this room",
    "bad_pin": "the room has a PIN and the one given is missing or wrong",
    "unauthorized": "the server lets nobody in without a valid token for this room and user id in `auth`",
    "bad_user": "this user id cannot be used",
    "identity_conflict": "this user id is in the room; the JOIN stays pending until it is free",
    "room_full": "the room has as many members as it may have; the JOIN stays pending",
    "kicked": "the host sent this user id out of the room a short while ago",
    "banned": "the host has banned this user id, or newcomers from this address, for the life of the room",
    "locked": "the host has locked the room; the JOIN stays pending until it is unlocked",
    "bad_url": "the title's URL is not one this server allows",
    "forgotten": "the command's `id` is so old that nobody knows whether it was carried out; it is not done now",
    "too_large": "the command would change more bytes of the room at once than may be",
    "mailbox_full": "the addressed member is not connected, and no more may wait for it",
    "no_such_member": "the addressed member is not in this room",
    "unavailable": "the server cannot do this at the moment",
    "rate_limited": "too many of these in too short a time; a JOIN stays pending and is carried out as soon as it can be",
    "idle": "the connection was opened and nothing was wanted of it for too long; it is closed",
    "shutting_down": "the server is about to stop; reconnect after a moment",
    "internal": "a fault of the server; it has been logged",
}

MAILBOX_FULL = Refused(
    "mailbox_full", "This member is not connected, and as many bytes wait for it as may (limits.mailbox_bytes).", 5000
)
