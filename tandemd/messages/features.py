"""The version of the protocol, and the abilities that a node names in ROOM_STATE and at /api/config."""

from __future__ import annotations

PROTOCOL = 1
"""It grows only if existing messages change their meaning. New messages, fields and features do not change it."""

FEATURES = {
    "ack": "the server answers a command that has an `id` with ACK or ERROR, and never applies it twice.",
    "auth": "a JOIN needs a signed token in `auth`.",
    "calls": "CALL and MEMBER_CALL, `inCall` in `users`, and `iceServers` for clients with `calls` in JOIN.",
    "delegation": "DELEGATE_CONTROL, CONTROL_DELEGATED, and `controllers` in ROOM_STATE.",
    "follows": "`follows` in JOIN: the player of a host follows the room.",
    "gate": "a SEEK waits for the watching members: SEEK_PAUSE, READY, and `gate` in ROOM_STATE.",
    "invites": "invite codes: `/api/short-id`, `/api/room` and `/room`.",
    "knocks": "KNOCK and ADMIT: the host answers each newcomer at a locked room.",
    "moderation": "LOCK_ROOM, KICK, BAN, UNBAN, and the messages that they cause.",
    "rate": "SET_RATE, RATE_CHANGED, and `rate` in ROOM_STATE, PLAY_PAUSE and HOST_HEARTBEAT.",
    "resume": "`resume` in JOIN: the server replays the messages that a member missed.",
    "scheduled-starts": "`schedules` in JOIN: PLAY_PAUSE, and ROOM_STATE until then, name the moment of a start in `at`.",
    "seq": "messages of changes have `seq` and `prev`; a control with `seq` cannot reach a title that its sender has not seen.",
    "status": "STATUS, MEMBER_STATUS, and WAIT_FOR_BUFFERING of the host.",
}
"""Each feature and its meaning. `app.settings.features_of` leaves out the features that the configuration turns off."""
