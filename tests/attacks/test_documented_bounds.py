"""The bounds in docs/security.md are those of the code and of the default configuration."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tandemd import messages as m
from tandemd.config.schema import Limits, Rooms
from tandemd.messages.fields import MAX_ID_BYTES
from tandemd.ratelimit.scopes import WIDE
from tandemd.ratelimit.spending import RESERVED
from tandemd.rooms.dispatcher import RELAY_BYTES
from tandemd.rules.membership import MAX_DEPARTED_MEMBERS
from tandemd.rules.moderation import MAX_BANS
from tandemd.store.memory import MAILBOX_FRAMES

from ..support.daemon_process import ROOT
from .allowed import BOUNDS, SAYS

LIMITS, ROOMS = Limits(), Rooms()


def kb(size: float) -> str:
    return f"{size / 1024:.0f} kB"


def grouped(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


TABLE = {
    "a change of the room": f"{kb(LIMITS.commit_bytes)} (`limits.commit_bytes`)",
    "its log": f"{kb(LIMITS.log_bytes)} (`limits.log_bytes`) and {ROOMS.log_length} changes",
    "the replay for a member that resumes": f"{kb(LIMITS.replay_bytes)} (`limits.replay_bytes`)",
    "replays to an address": (
        f"half of `limits.address_bytes_rate`: {LIMITS.address_bytes_rate.burst * RESERVED / 1024**2:.0f} MB at once, "
        f"then {kb(LIMITS.address_bytes_rate.per_second)} a second; a /48 {WIDE} times as much"
    ),
    "the mailbox of a lost member": f"{kb(LIMITS.mailbox_bytes)} (`limits.mailbox_bytes`) and {MAILBOX_FRAMES} messages",
    "a room id, a user id": f"100 characters, {MAX_ID_BYTES} bytes; neither control nor format characters (Cc, Cf)",
    "kicks and bans": f"{MAX_BANS}",
    "members that left, with their addresses": f"{MAX_DEPARTED_MEMBERS}, for 10 minutes",
}
"""The rows of the table of a room's contents, as they must be."""


class DocumentTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (ROOT / "docs/security.md").read_text()
        self.flowing = re.sub(r"\s+", " ", self.text)

    def test_each_row_of_the_table(self) -> None:
        table = self.text.split("| data | bound | beyond it |\n|---|---|---|\n")[1].split("\n\n")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        self.assertEqual({what: bound for what, bound, _ in rows}, TABLE)

    def test_budgets(self) -> None:
        room, address = LIMITS.room_bytes_rate.per_second, LIMITS.address_bytes_rate.per_second
        for sentence in (
            f"A room may do {kb(room)} and {grouped(LIMITS.room_deliveries_rate.per_second)} deliveries a second, "
            f"an address {kb(address)} and {grouped(LIMITS.address_deliveries_rate.per_second)} in all rooms",
            f"A relay costs one delivery more for each {RELAY_BYTES} bytes",
            f"A /48 has {WIDE} times the number of each rule by address",
            f"a room writes {LIMITS.room_events_rate.per_second:.0f} events a second, after a rest "
            f"{grouped(LIMITS.room_events_rate.burst)} at once",
            f"One address may have {LIMITS.members_per_address} members in a room",
            f"{grouped(LIMITS.http_connections_per_address)} of an address and {grouped(LIMITS.http_connections)} in all",
        ):
            self.assertIn(sentence, self.flowing)

    def test_each_type_has_a_bound(self) -> None:
        self.assertEqual(set(BOUNDS), set(m.CLIENT_MESSAGES))
        self.assertEqual(set(SAYS), set(m.CLIENT_MESSAGES))
