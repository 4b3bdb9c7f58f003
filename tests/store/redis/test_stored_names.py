"""Stored data keeps its names: an older version's rooms are read, and rooms are written as JSON with the same keys."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tandemd.rules.snapshot import dump, load
from tandemd.rules.state import Room
from tandemd.store.redis import codec

UUID = "0f8a2c1e-5b7d-4e3f-9a60-1c2d3e4f5a6b"
OLDEST: dict[str, Any] = {
    "prev": 40,
    "at": 1700000100.5,
    "due": 1700000130.5,
    "playback": {
        "url": "https://example.org/film",
        "position": 62.5,
        "at": 1700000100.5,
        "playing": True,
        "rate": 1.0,
        "known": True,
        "control_at": 1700000090.0,
        "titled_at": 1700000010.0,
    },
    "host": "anna",
    "settings": {"guest_control": True, "pin": {"salt": "a1b2c3d4", "hash": "00ff00ff"}, "invite": "invite-1"},
    "gate": {"position": 62.5, "since": 1700000100.5, "awaited": ["bob"], "ready": ["anna"], "resume": True},
    "departed": [{"user_id": "carl", "at": 1700000050.0, "address": "192.0.2.3"}],
    "empty_since": 0.0,
    "members": [
        {
            "user_id": "anna",
            "username": "Anna",
            "conn": "n1/4/7",
            "order": 1,
            "joined_at": 1700000001.0,
            "lost_at": 0.0,
            "watching": True,
            "address": "192.0.2.1",
            "token": "aa11",
            "next_token": "bb22",
            "proven": True,
            "recent": [["nonce-1", 5, 38], ["nonce-1", 6, 40]],
            "forgotten": 4,
            "role": "host",
            "named": True,
        },
        {
            "user_id": "bob",
            "username": None,
            "conn": "",
            "order": 2,
            "joined_at": 1700000002.0,
            "lost_at": 1700000099.0,
            "watching": False,
            "address": "",
            "token": "",
            "next_token": "",
            "proven": False,
            "recent": [],
            "forgotten": -1,
            "role": "",
            "named": False,
        },
    ],
    "moderation": {
        "locked": True,
        "delegates": ["bob"],
        "bars": [{"user_id": "eve", "username": "Eve", "address": "192.0.2.7", "until": 1700000999.0}],
    },
}
"""The dump of a room in which every field is set, by the first version that stored rooms like this."""

WRITTEN: dict[str, Any] = {
    "prev": 40,
    "at": 1700000100.5,
    "due": 1700000130.5,
    "playback": {
        "url": "https://example.org/film",
        "position": 62.5,
        "at": 1700000100.5,
        "playing": True,
        "rate": 1.0,
        "known": True,
        "control_at": 1700000090.0,
        "titled_at": 1700000010.0,
        "titled_seq": 0,
        "titled_by": "",
        "left_position": 0.0,
        "left_at": 0.0,
        "held": False,
        "unwatched": False,
        "waits": [],
        "ends": [],
    },
    "host": "anna",
    "settings": {
        "guest_control": True,
        "pin": {"salt": "a1b2c3d4", "hash": "00ff00ff"},
        "invite": "invite-1",
        "wait_for_buffering": False,
    },
    "gate": {
        "position": 62.5,
        "since": 1700000100.5,
        "awaited": ["bob"],
        "ready": ["anna"],
        "resume": True,
        "gone": [],
    },
    "departed": [{"user_id": "carl", "at": 1700000050.0, "address": "192.0.2.3", "seq": 0, "earlier": []}],
    "empty_since": 0.0,
    "members": [
        {
            "user_id": "anna",
            "username": "Anna",
            "conn": "n1/4/7",
            "order": 1,
            "joined_at": 1700000001.0,
            "lost_at": 0.0,
            "watching": True,
            "address": "192.0.2.1",
            "token": "aa11",
            "next_token": "bb22",
            "proven": True,
            "recent": [["nonce-1", 5, 38], ["nonce-1", 6, 40]],
            "forgotten": 4,
            "role": "host",
            "named": True,
        },
        {
            "user_id": "bob",
            "username": None,
            "conn": "",
            "order": 2,
            "joined_at": 1700000002.0,
            "lost_at": 1700000099.0,
        },
    ],
    "moderation": {
        "locked": True,
        "delegates": ["bob"],
        "bars": [
            {
                "user_id": "eve",
                "username": "Eve",
                "address": "192.0.2.7",
                "until": 1700000999.0,
                "at": 0.0,
                "earlier": [],
            }
        ],
    },
}
"""The same room as this version dumps it."""

FIELDS: dict[str, Any] = {
    "url": "https://example.org/film",
    "playback": {
        "url": "",
        "position": 62.5,
        "at": 1700000100.5,
        "playing": True,
        "rate": 1.0,
        "known": True,
        "control_at": 1700000090.0,
        "titled_at": 1700000010.0,
        "titled_seq": 0,
        "titled_by": "",
        "left_position": 0.0,
        "left_at": 0.0,
        "held": False,
        "unwatched": False,
        "waits": [],
        "ends": [],
    },
    "host": "anna",
    "settings": {
        "guest_control": True,
        "pin": {"salt": "a1b2c3d4", "hash": "00ff00ff"},
        "invite": "invite-1",
        "wait_for_buffering": False,
    },
    "gate": {
        "position": 62.5,
        "since": 1700000100.5,
        "awaited": ["bob"],
        "ready": ["anna"],
        "resume": True,
        "gone": [],
    },
    "locked": True,
    "empty_since": 0.0,
    "m:anna": {
        "user_id": "anna",
        "username": "Anna",
        "conn": "n1/4/7",
        "order": 1,
        "joined_at": 1700000001.0,
        "lost_at": 0.0,
        "watching": True,
        "address": "192.0.2.1",
        "token": "aa11",
        "next_token": "bb22",
        "proven": True,
        "recent": [["nonce-1", 5, 38], ["nonce-1", 6, 40]],
        "forgotten": 4,
        "role": "host",
        "named": True,
    },
    "m:bob": {
        "user_id": "bob",
        "username": None,
        "conn": "",
        "order": 2,
        "joined_at": 1700000002.0,
        "lost_at": 1700000099.0,
    },
    "b:eve": {
        "user_id": "eve",
        "username": "Eve",
        "address": "192.0.2.7",
        "until": 1700000999.0,
        "at": 0.0,
        "earlier": [],
    },
    "d:bob": True,
    "x:carl": {"user_id": "carl", "at": 1700000050.0, "address": "192.0.2.3", "seq": 0, "earlier": []},
    "r:anna": True,
}
"""The same room as the fields of its hash in Redis."""


class StoredNamesTests(SynchronousTestCase):
    """An attribute may get a new name in the code. Its name in the archive and in Redis stays."""

    def setUp(self) -> None:
        self.room = load(UUID, "film-night", 1700000000.0, 3, 41, json.dumps(OLDEST))

    def test_the_archive_keeps_its_keys(self) -> None:
        self.assertEqual(json.loads(dump(self.room)), WRITTEN)
        self.assertEqual(dump(self.room), json.dumps(WRITTEN, separators=(",", ":")).encode())

    def test_redis_keeps_its_keys(self) -> None:
        fields = {name: codec.encode_field(value) for name, value in self.room.fields().items()}
        self.assertEqual({name: json.loads(value) for name, value in fields.items()}, FIELDS)
        head = {codec.HEAD: codec.encode_head(self.room), codec.VERSION: codec.version_text(UUID, (3, 41))}
        again: Room = codec.decode_room("film-night", {**fields, **head})
        self.assertEqual(dump(again), dump(self.room))
