"""The contract of the Redis store when answers, publications, connections or time get lost."""

from __future__ import annotations

import signal
from typing import Any, cast

from twisted.internet.defer import gatherResults

from tandemd.errors import RequestError
from tandemd.interfaces import Conflict, Unavailable
from tandemd.ratelimit.buckets import TokenBucket
from tandemd.rules.state import Room
from tandemd.store.redis.keys import PREFIX, budget_key, log_key, mail_key, room_key

from ...support.redis_nodes import Hand, Proxy, RedisTestCase, member, reactor, until


class FollowingTest(RedisTestCase):
    async def test_others_are_told_in_order(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        for i in range(50):
            await hand.say(str(i))
        await until(lambda: len(b.follower.seqs("room")) == 50)
        self.assertEqual(b.follower.commits["room"], hand.log[1:])

    async def test_what_is_read_and_what_is_told_leave_no_gap(self) -> None:
        """A handler that subscribes and then loads receives everything after the loaded version."""
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        loaded = []
        for i in range(100):
            await hand.say(str(i))
            if i % 10 == 0:
                b.rooms.subscribe("room")
                room = await b.rooms.load("room")
                b.follower.commits.clear()
                loaded.append(room.seq)
                await hand.say("next")
                await until(lambda: b.follower.seqs("room"))
                self.assertEqual(b.follower.seqs("room")[0], room.seq + 1)
                b.rooms.unsubscribe("room")
        self.assertEqual(len(loaded), 10)

    async def test_nothing_is_told_of_a_room_not_followed_any_more(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        b.rooms.unsubscribe("room")
        await hand.say()
        b.rooms.subscribe("other")
        await b.rooms.load("other")  # the connection is in order: by now it would have come
        self.assertEqual(b.follower.seqs("room"), [])

    async def test_a_killed_subscription_comes_back_and_compares(self) -> None:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        await self.ask(a, b"CLIENT", b"KILL", b"TYPE", b"pubsub")
        await until(lambda: not b._subscription.link.usable)
        await hand.say("no member received this")
        await until(lambda: ("room", hand.room.room_uuid, hand.room.version) in b.follower.heads)
        b.follower.commits.clear()
        await hand.say("heard again")
        await until(lambda: b.follower.seqs("room") == [3])
        self.assertEqual(b.metrics.pubsub_reconnects.value, 1)

    async def test_a_silent_subscription_is_noticed(self) -> None:
        a = await self.node("a/1/")
        proxy, b = await self.proxied("b/1/")
        hand = await self.open(a)
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        proxy.deaf = "subscriptions"
        await hand.say("lost")
        await until(lambda: b.metrics.pubsub_reconnects.value == 1)
        self.assertGreater(b.metrics.canary_age.value, 2.5)
        self.assertEqual(b.follower.seqs("room"), [])
        proxy.deaf = ""
        proxy.cut()
        await until(lambda: ("room", hand.room.room_uuid, hand.room.version) in b.follower.heads)
        await until(lambda: not b.ready())

    async def test_heads_are_compared_now_and_then(self) -> None:
        """A lost last publication leaves no hole."""
        a = await self.node("a/1/")
        hand = await self.open(a)
        await until(lambda: ("room", hand.room.room_uuid, hand.room.version) in a.follower.heads)
        a.rooms.subscribe("nothing")
        await a._subscription.compare()
        self.assertIn(("nothing", "", (0, 0)), a.follower.heads)

    async def test_a_room_cannot_be_opened_while_nothing_is_heard(self) -> None:
        proxy, a = await self.proxied()
        proxy.deaf = "subscriptions"
        a.rooms.subscribe("room")
        error = await self.assertFailure(a.rooms.load("room"), RequestError)
        self.assertEqual(error.code, "unavailable")

    async def test_stopping_while_rooms_are_opened(self) -> None:
        """Each room closes as soon as its wait has ended."""
        proxy, a = await self.proxied()
        proxy.deaf = "subscriptions"
        opened = []
        for room_id in ("one", "two", "three"):
            a.rooms.subscribe(room_id)
            opening = a.rooms.load(room_id)
            opening.addErrback(lambda failure, room_id=room_id: a.rooms.unsubscribe(room_id, is_known=False))
            opened.append(opening)
        await until(lambda: all(followed.waiting for followed in a._subscription._rooms.values()))
        await a.stopService()
        await gatherResults(opened)
        self.assertEqual(a._subscription._rooms, {})

    async def test_a_node_that_could_not_open_a_room_is_told_when_it_can(self) -> None:
        proxy, a = await self.proxied()
        proxy.deaf = "subscriptions"
        a.rooms.subscribe("room")
        await self.assertFailure(a.rooms.load("room"), RequestError)
        a.rooms.unsubscribe("room")
        before = a.follower.times_available
        proxy.deaf = ""
        next(near for near in proxy.links if near.listens).transport.abortConnection()
        await until(lambda: a.follower.times_available > before)
        await until(lambda: not a.ready())


class MailTest(RedisTestCase):
    async def party(self) -> tuple[Any, Any, Hand]:
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        await hand.send(hand.next({**member("ann", "a/1/1"), **member("bob", "b/1/1")}))
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        return a, b, hand

    async def test_delivered_by_the_node_that_has_the_member(self) -> None:
        a, b, _ = await self.party()
        c = await self.node("c/1/")
        c.rooms.subscribe("room")
        await c.rooms.load("room")
        b.follower.here.add(("room", "bob"))
        for i in range(20):
            a.mailboxes.relay("room", "bob", b"%d" % i)
        await until(lambda: len(b.follower.letters) == 20)
        self.assertEqual(b.follower.letters, [("room", "bob", b"%d" % i) for i in range(20)])
        self.assertEqual(c.follower.letters, [])
        self.assertEqual(await a.mailboxes.take_mail("room", "bob"), [])

    async def test_two_nodes_believe_to_have_the_member(self) -> None:
        """A frozen one has woken up. It cannot take anything away from the other, and none says anything twice."""
        a, b, _ = await self.party()
        a.follower.here.add(("room", "bob"))
        b.follower.here.add(("room", "bob"))
        letters = [("room", "bob", b"%d" % i) for i in range(20)]
        for _, _, text in letters:
            a.mailboxes.relay("room", "bob", text)
        await until(lambda: {*a.follower.letters, *b.follower.letters} == {*letters})
        for node in (a, b):
            self.assertEqual(node.follower.letters, [it for it in letters if it in node.follower.letters])
        self.assertEqual(await a.mailboxes.take_mail("room", "bob"), [])

    async def test_told_of_and_cannot_be_taken(self) -> None:
        """It is heard of a letter while the connection to take it with is lost."""
        a, b, _ = await self.party()
        b.follower.here.add(("room", "bob"))
        b._gateway.link.drop()
        await until(lambda: b._gateway.incarnation is None)
        a.mailboxes.relay("room", "bob", b"1")
        await until(lambda: b.follower.letters)
        self.assertEqual(b.follower.letters, [("room", "bob", b"1")])

    async def test_kept_for_a_member_who_is_nowhere(self) -> None:
        a, b, _ = await self.party()
        a.mailboxes.relay("room", "bob", b"1")
        await self.ask(a, b"PING")  # until then it may be under way, and b would be told of it
        self.assertEqual(await b.mailboxes.take_mail("room", "bob"), [b"1"])

    async def test_letters_die(self) -> None:
        a = await self.node(mail_seconds=1)
        await self.open(a)
        a.mailboxes.relay("room", "ann", b"1")
        self.assertEqual(await self.ask(a, b"TTL", PREFIX + b"mail:room\x00ann"), 1)

    async def test_what_a_deaf_node_did_not_hear_of_is_delivered(self) -> None:
        a, b, _ = await self.party()
        b.follower.here.add(("room", "bob"))
        await self.ask(a, b"CLIENT", b"KILL", b"TYPE", b"pubsub")
        await until(lambda: not b._subscription.link.usable)
        a.mailboxes.relay("room", "bob", b"1")
        await until(lambda: b.follower.letters == [("room", "bob", b"1")])
        self.assertEqual(await a.mailboxes.take_mail("room", "bob"), [])


class LostLetterTest(RedisTestCase):
    """No letter is lost with an answer, and none comes twice."""

    async def party(self) -> tuple[Any, Any, Proxy, Hand]:
        """Return two nodes, a proxy before the second, which has bob, and a hand."""
        a = await self.node("a/1/")
        proxy, b = await self.proxied("b/1/")
        hand = await self.open(a)
        await hand.send(hand.next({**member("ann", "a/1/1"), **member("bob", "b/1/1")}))
        b.rooms.subscribe("room")
        await b.rooms.load("room")
        b.follower.here.add(("room", "bob"))
        return a, b, proxy, hand

    def heal(self, proxy: Proxy) -> None:
        proxy.deaf, proxy.mute = "", False
        proxy.cut()

    def waiting(self, store: Any) -> Any:
        return self.ask(store, b"LLEN", mail_key("room", "bob"))

    async def test_reading_is_not_answered(self) -> None:
        a, b, proxy, _ = await self.party()
        proxy.deaf = "commands"
        a.mailboxes.relay("room", "bob", b"letter")
        await until(lambda: b"letter" in proxy.lost)
        self.assertEqual(b.follower.letters, [])
        self.heal(proxy)
        await until(lambda: b.follower.letters)
        a.mailboxes.relay("room", "bob", b"next")
        await until(lambda: len(b.follower.letters) > 1)
        self.assertEqual([text for _, _, text in b.follower.letters], [b"letter", b"next"])

    async def test_removal_is_not_answered(self) -> None:
        await self._removal_is_lost("deaf", "commands")

    async def test_removal_is_not_carried_out(self) -> None:
        await self._removal_is_lost("mute", True)

    async def _removal_is_lost(self, attribute: str, value: object) -> None:
        a, b, proxy, _ = await self.party()
        b.follower.handed = lambda: setattr(proxy, attribute, value)
        a.mailboxes.relay("room", "bob", b"letter")
        await until(lambda: b.follower.letters)
        b.follower.handed = lambda: None
        if attribute == "mute":
            self.assertEqual(await self.waiting(a), 1)
        else:
            while await self.waiting(a):
                pass
        self.heal(proxy)
        a.mailboxes.relay("room", "bob", b"next")
        await until(lambda: len(b.follower.letters) > 1)
        while await self.waiting(a):
            pass
        self.assertEqual(await b.mailboxes.take_mail("room", "bob"), [])
        self.assertEqual([text for _, _, text in b.follower.letters], [b"letter", b"next"])

    async def test_a_copy_of_a_delivered_letter_is_removed(self) -> None:
        """The sender puts it there again if it has lost the answer to its first attempt. Another node would deliver it."""
        a, b, _, _ = await self.party()
        message = b"0123456789abcdefletter"
        a.mailboxes._send("room", "bob", message, lambda error: None)
        await until(lambda: b.follower.letters)
        while await self.waiting(a):
            pass
        a.mailboxes._send("room", "bob", message, lambda error: None)
        while await self.waiting(a):
            pass
        self.assertEqual([text for _, _, text in b.follower.letters], [b"letter"])

    async def test_removal_is_made_up_for_who_is_gone(self) -> None:
        """No other member gets it from the mailbox."""
        a, b, proxy, _ = await self.party()
        b.follower.handed = lambda: setattr(proxy, "mute", True)
        a.mailboxes.relay("room", "bob", b"letter")
        await until(lambda: b.follower.letters)
        b.follower.here.clear()
        self.heal(proxy)
        await until(lambda: not b.ready())
        while await self.waiting(a):
            pass
        await until(lambda: not b._mail._boxes)

    async def test_taking_is_not_answered(self) -> None:
        a, b, proxy, _ = await self.party()
        b.follower.here.clear()
        for text in (b"1", b"letter"):
            a.mailboxes.relay("room", "bob", text)
        while await self.waiting(a) < 2:
            pass
        proxy.deaf = "commands"
        taken = b.mailboxes.take_mail("room", "bob")
        await until(lambda: b"letter" in proxy.lost)
        self.heal(proxy)
        await self.assertFailure(taken, RequestError)
        self.assertEqual(await b.mailboxes.take_mail("room", "bob"), [b"1", b"letter"])
        self.assertEqual(await b.mailboxes.take_mail("room", "bob"), [])
        while await self.waiting(a):
            pass

    async def test_taking_is_not_answered_and_the_member_is_here(self) -> None:
        """A relay that could not be delivered when it came is delivered when Redis is back."""
        a, b, proxy, _ = await self.party()
        proxy.deaf = "commands"
        taken = b.mailboxes.take_mail("room", "bob")
        a.mailboxes.relay("room", "bob", b"1")
        a.mailboxes.relay("room", "bob", b"2")
        while await self.waiting(a) < 2:
            pass
        self.heal(proxy)
        await self.assertFailure(taken, RequestError)
        await until(lambda: len(b.follower.letters) == 2)
        self.assertEqual([text for _, _, text in b.follower.letters], [b"1", b"2"])

    async def test_taken_and_told_of_at_once(self) -> None:
        """In their order, none twice: some are in the mailbox when it is taken, some come while it is."""
        a, b, _, _ = await self.party()
        got = b.follower.letters
        for i in range(60):
            a.mailboxes.relay("room", "bob", b"%d" % i)
            if i % 10 == 5:
                b.mailboxes.take_mail("room", "bob").addCallback(
                    lambda some: got.extend(("room", "bob", text) for text in some)
                )
                await self.ask(a, b"PING")
        await until(lambda: len(got) >= 60)
        self.assertEqual([text for _, _, text in got], [b"%d" % i for i in range(60)])
        while await self.waiting(a):
            pass

    async def test_read_for_the_page_before(self) -> None:
        """A fresh page does not get the answers to another page's requests."""
        a, b, _, _ = await self.party()
        b.follower.here.clear()
        a.mailboxes.relay("room", "bob", b"for the old page")
        while not await self.waiting(a):
            pass
        b.follower.here.add(("room", "bob"))
        b._mail.deliver_all("room", ["bob"])
        b.mailboxes.drop_mail("room", "bob")
        await self.ask(b, b"PING")
        a.mailboxes.relay("room", "bob", b"for the new page")
        await until(lambda: b.follower.letters)
        self.assertEqual(b.follower.letters, [("room", "bob", b"for the new page")])


class LostAnswerTest(RedisTestCase):
    async def test_committed(self) -> None:
        proxy, a = await self.proxied()
        b = await self.node("b/1/")
        hand = await self.open(a)
        proxy.deaf = "all"
        result = hand.send(*hand.batch("x", "y"))
        other = Hand(b, "room", await b.rooms.load("room"))
        while other.room.seq < 3:
            other.room = await b.rooms.load("room")
        proxy.deaf = ""
        proxy.cut()
        self.assertIsNone(await result)
        self.assertEqual((await a.rooms.load("room")).version, hand.room.version)
        self.assertEqual(await self.ask(a, b"XLEN", log_key("room")), 3)
        self.assertEqual(a.metrics.retries.value, 1)

    async def test_not_committed(self) -> None:
        proxy, a = await self.proxied()
        hand = await self.open(a)
        proxy.mute = True
        result = hand.say("lost")
        await until(lambda: b"lost" in proxy.swallowed)
        proxy.mute = False
        proxy.cut()
        # Not before it is certain: until then Redis might still find it in its socket.
        self.assertEqual(await result, Conflict(None))
        self.assertEqual((await a.rooms.load("room")).seq, 1)
        self.assertIsNone(await hand.say("again"))

    async def test_the_end_of_a_room(self) -> None:
        proxy, a = await self.proxied()
        b = await self.node("b/1/")
        hand = await self.open(a)
        proxy.deaf = "all"
        result = hand.send(hand.next({}, event="USER_LEFT", closes=True))
        while await b.rooms.load("room") is not None:
            pass
        self.assertIsNone(await Hand(b, "room").say("a new one under the same code"))
        proxy.deaf = ""
        proxy.cut()
        self.assertIsNone(await result)

    async def test_another_node_was_first(self) -> None:
        proxy, a = await self.proxied()
        b = await self.node("b/1/")
        hand = await self.open(a)
        other = Hand(b, "room", await b.rooms.load("room"))
        proxy.mute = True
        result = hand.say("lost")
        await until(lambda: b"lost" in proxy.swallowed)
        self.assertIsNone(await other.say("first"))
        proxy.mute = False
        proxy.cut()
        self.assertEqual(await result, Conflict(None))
        self.assertEqual((await b.rooms.load("room")).version, other.room.version)


class WaitingTest(RedisTestCase):
    async def test_a_short_absence_is_not_noticed(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        await self.ask(a, b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"no").addErrback(lambda failure: None)
        await until(lambda: a._gateway.incarnation is None)
        self.assertNotEqual(a.ready(), "")
        self.assertIsNone(await hand.say("waits"))
        self.assertEqual(await a.rooms.find_invite("inv-room"), "room")
        await until(lambda: not a.ready())

    async def test_a_batch_that_waits_is_what_it_was_made_for(self) -> None:
        """The caller's room may move on while its batch waits; compared with that, it would be taken for another."""
        a, b = await self.node("a/1/"), await self.node("b/1/")
        hand = await self.open(a)
        other = Hand(b, "room", await b.rooms.load("room"))
        theirs = other.next(text="first")
        a._gateway.link.drop()
        await until(lambda: a._gateway.incarnation is None)
        result = Hand(a, "room", hand.room).say("second")
        self.assertIsNone(await other.send(theirs))
        hand.room.apply(theirs)  # it heard of that by the subscription
        self.assertEqual(await result, Conflict(hand.room.version))
        self.assertEqual((await b.rooms.load("room")).version, other.room.version)

    async def test_a_long_absence_is_told(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        self.server.stop()
        await until(lambda: a._gateway.incarnation is None)
        self.assertIsInstance(await hand.say("x"), Unavailable)
        for reading in (
            a.rooms.load("room"),
            a.rooms.replay("room", hand.room.version),
            a.mailboxes.take_mail("room", "ann"),
        ):
            error = await self.assertFailure(reading, RequestError)
            self.assertEqual(error.code, "unavailable")
        self.assertEqual(await a.rooms.due_rooms(a.clock.now()), [])

    async def test_questions_without_an_answer(self) -> None:
        """Every pending request fails, and none of them twice: trial would report an unhandled failure."""
        proxy, a = await self.proxied()
        hand = await self.open(a)
        proxy.deaf = "all"
        asked = [
            a.rooms.load("room"),
            a.rooms.replay("room", hand.room.version),
            a.mailboxes.take_mail("room", "ann"),
            a.rooms.find_invite("x"),
        ]
        await until(lambda: proxy.lost)
        proxy.deaf = ""
        proxy.cut()
        for question in asked:
            await self.assertFailure(question, RequestError)

    async def test_stopping_ends_all_waits(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        self.server.stop()
        await until(lambda: a._gateway.incarnation is None)
        result, loaded = hand.say("x"), self.assertFailure(a.rooms.load("room"), RequestError)
        await a.stopService()
        self.assertIsInstance(await result, Unavailable)
        await loaded

    async def test_a_frozen_server(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        others = [Hand(a, f"room{i}") for i in range(3)]
        for other in others:
            await other.say("first")
        process = cast(Any, self.server.process)
        process.send_signal(signal.SIGSTOP)
        sent = hand.say("on its way when the server froze")
        await until(a.ready)
        refused = [await other.say("refused") for other in others]
        self.assertEqual([type(result) for result in refused], [Unavailable] * 3)
        self.assertFalse(sent.called)  # it may have been committed: its outcome is unknown
        process.send_signal(signal.SIGCONT)
        self.assertEqual(await sent, Conflict(None))
        await until(lambda: not a.ready())
        for other in others:
            self.assertEqual((await a.rooms.load(other.room.room_id)).seq, 1)
            self.assertIsNone(await other.say("goes on"))
        self.assertEqual((await a.rooms.load("room")).seq, 1)

    async def test_a_server_that_froze_for_a_moment(self) -> None:
        """The connection outlives it. A client that was rejected meanwhile, and waits for the answer, receives it."""
        a = await self.node()
        await self.open(a)
        before = a.follower.times_available
        process = cast(Any, self.server.process)
        process.send_signal(signal.SIGSTOP)
        lost = self.ask(a, b"PING")
        await until(a.ready)
        await self.assertFailure(a.rooms.load("other"), RequestError)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(await lost, b"PONG")
        await until(lambda: a.follower.times_available > before)
        await until(lambda: not a.ready())
        self.assertEqual((a._gateway.link.reconnects, a.follower.renewals), (0, []))

    def set_back(self, store: Any) -> None:
        """Have a node believe that Redis' clock is set back; so it was set forward when Redis answers next."""
        here = reactor.seconds()
        store._gateway.time.sample(here, here, here - 100.0)

    async def test_a_wrong_idea_of_the_time(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        self.set_back(a)
        self.assertIsNone(await hand.say("x"))
        self.assertLess(abs(a._gateway.time.reference() - reactor.seconds()), 50.0)  # it was 100 s off
        self.assertLess(abs(a.clock.now() - reactor.seconds()), 50.0)

    async def test_budgets_when_redis_is_set_back(self) -> None:
        """A budget is full again after its time, and not when the old time has come round."""
        a = await self.node()
        budget = TokenBucket("tries:room", 2, 60)
        await self.ask(a, b"SET", budget_key(budget.name), b"%f" % (reactor.seconds() + 600))
        refused = await a.rate_limits.take([[budget]])
        self.assertTrue(29 < refused.wait <= 30, refused)

    async def test_too_late(self) -> None:
        """Requests that Redis finds in its socket after the time are not carried out."""
        a = await self.node()
        hand = await self.open(a)
        self.set_back(a)
        result = hand.say("x")
        # As if it had been under way for long.
        hand.store._room_store._commits._clock = _Later(reactor, 1.5)
        self.assertIsInstance(await result, Unavailable)
        self.assertEqual((await a.rooms.load("room")).seq, 1)

    async def test_an_error_in_one_room_stops_no_other(self) -> None:
        a = await self.node()
        hand = await self.open(a)
        other = Hand(a, "other")
        await other.say("first")
        await self.ask(a, b"SET", log_key("room"), b"nonsense")
        self.assertIsInstance(await hand.say("x"), Unavailable)
        self.assertIsNone(await other.say("x"))
        self.assertEqual(a.ready(), "")


class ArchiveTest(RedisTestCase):
    async def test_a_room_redis_does_not_have(self) -> None:
        a = await self.node()
        kept = Hand(a, "kept")
        kept.room.apply(kept.next(member("ann", "dead/1/1")))
        self.archive.rooms["kept"] = kept.room
        room = await a.rooms.load("kept")
        self.assertEqual((room.room_uuid, room.seq), (kept.room.room_uuid, 1))
        self.assertGreater(room.epoch, kept.room.epoch)
        self.assertEqual(await a.rooms.find_invite("inv-kept"), "kept")
        self.assertIsNone(await Hand(a, "kept", room).say("x"))

    async def test_whether_there_is_a_room_must_be_known(self) -> None:
        a = await self.node()
        self.archive.away = True
        error = await self.assertFailure(a.rooms.load("room"), RequestError)
        self.assertEqual(error.code, "unavailable")
        before = a.follower.times_available
        self.archive.away = False
        await until(lambda: a.follower.times_available > before)
        self.assertIsNone(await a.rooms.load("room"))

    async def test_an_ended_room_stays_so(self) -> None:
        """The archive does not know yet that it has ended."""
        a = await self.node()
        hand = await self.open(a)
        self.archive.rooms["room"] = hand.room.copy()
        await hand.send(hand.next({}, event="USER_LEFT", closes=True))
        self.assertIsNone(await a.rooms.load("room"))
        stale: Room = self.archive.rooms["room"]
        self.assertEqual(await a._reseeder.one(stale, ()), -1)
        self.assertEqual(await self.ask(a, b"EXISTS", room_key("room")), 0)


class _Later:
    """A clock that is ahead."""

    def __init__(self, clock: Any, ahead: float):
        self._clock = clock
        self._ahead = ahead

    def seconds(self) -> float:
        return cast(float, self._clock.seconds()) + self._ahead
