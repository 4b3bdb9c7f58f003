"""Services in order, and work in the background."""

import io

from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.log_observer import LineObserver, json_line
from tandemd.app.root_service import RootService
from tandemd.util.services import OrderedMultiService, StartupError, Tasks

from ..support.log_events import observe_log


class Recorded(Service):
    """Writes down when it is started and stopped; its methods return `starting` and `stopping`."""

    def __init__(self, name, story, starting=None, stopping=None):
        self.name = name
        self.story = story
        self.starting = starting
        self.stopping = stopping

    def _told(self, what, result):
        self.story.append(f"{what} {self.name}")
        if isinstance(result, Exception):
            raise result
        return result

    def startService(self):
        super().startService()
        return self._told("start", self.starting)

    def stopService(self):
        super().stopService()
        return self._told("stop", self.stopping)


class SequenceTests(SynchronousTestCase):
    def setUp(self):
        self.reactor = MemoryReactorClock()
        self.story = []
        self.sequence = OrderedMultiService(self.reactor, exit=lambda status: self.story.append(f"exit {status}"))

    def child(self, name, **results):
        Recorded(name, self.story, **results).setServiceParent(self.sequence)

    def logged(self):
        events = []
        observe_log(self, events.append)
        return events

    def test_one_after_another_and_back(self):
        starting, stopping = Deferred(), Deferred()
        self.child("a", starting=starting)
        self.child("b", stopping=stopping)
        self.sequence.startService()
        self.assertEqual(self.story, ["start a"])
        self.assertFalse(self.sequence.started)
        starting.callback(None)
        self.assertEqual(self.story, ["start a", "start b"])
        self.assertTrue(self.sequence.started)

        self.story.clear()
        stopped = self.sequence.stopService()
        self.assertFalse(self.sequence.started)
        self.assertEqual(self.story, ["stop b"])
        self.assertNoResult(stopped)
        stopping.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.story, ["stop b", "stop a"])

    def test_nothing_is_started_in_the_privileged_phase(self):
        self.child("a")
        self.sequence.privilegedStartService()
        self.assertEqual(self.story, [])

    def test_stopped_while_starting(self):
        self.child("a")
        self.child("b", starting=Deferred())
        self.child("c")
        self.sequence.startService()
        self.successResultOf(self.sequence.stopService())
        self.assertEqual(self.story, ["start a", "start b", "stop b", "stop a"])

    def test_started_again(self):
        self.child("a")
        for _ in range(2):
            self.sequence.startService()
            self.successResultOf(self.sequence.stopService())
        self.assertEqual(self.story, ["start a", "stop a"] * 2)

    def test_a_start_that_fails_ends_the_process_with_status_1(self):
        for error, logged in ((StartupError("port: 4001 is in use"), 0), (ValueError("v"), 1)):
            self.setUp()
            events = self.logged()
            self.child("a")
            self.child("b", starting=error)
            self.child("c")
            self.sequence.startService()
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), logged)
            said = [event for event in events if event["log_namespace"] == "tandemd.util.services"]
            self.assertEqual(len(said), 1)
            if not logged:
                self.assertEqual(said[0]["reason"], "port: 4001 is in use")
            self.assertFalse(self.reactor.hasStopped)
            self.reactor.advance(0)
            self.assertTrue(self.reactor.hasStopped)
            self.successResultOf(self.sequence.stopService())
            self.assertEqual(self.story, ["start a", "start b", "stop b", "stop a"])
            ((function, args, kwargs),) = self.reactor.triggers["after"]["shutdown"]
            function(*args, **kwargs)
            self.assertEqual(self.story[-1], "exit 1")

    def test_a_stop_that_fails_does_not_keep_the_others_running(self):
        self.child("a")
        self.child("b", stopping=ValueError("v"))
        self.sequence.startService()
        self.successResultOf(self.sequence.stopService())
        self.assertEqual(self.story[-2:], ["stop b", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_gives_twistd_the_log(self):
        application = Application("x")
        observer = LineObserver(io.BytesIO(), json_line, "info")
        RootService(self.reactor, observer).setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)


class TasksTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.tasks = Tasks(self.clock)

    def waiting(self, d, after=lambda: None):
        async def work():
            await d
            after()

        return work()

    def finish(self, limit=5):
        return Deferred.fromCoroutine(self.tasks.finish(limit))

    def test_what_ends_at_once_is_not_kept(self):
        self.tasks.spawn("t", self.waiting(succeed(None)))
        self.assertEqual(len(self.tasks), 0)
        self.successResultOf(self.finish())

    def test_failures_are_logged_with_the_name(self):
        events = []
        observe_log(self, events.append)
        d = Deferred()
        self.tasks.spawn("presence round", self.waiting(d))
        d.errback(ValueError("v"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual([event["task"] for event in events if "task" in event], ["presence round"])
        self.assertEqual(len(self.tasks), 0)

    def test_all_are_waited_for_also_those_that_come_later(self):
        first, second = Deferred(), Deferred()
        self.tasks.spawn("a", self.waiting(first, lambda: self.tasks.spawn("b", self.waiting(second))))
        finished = self.finish()
        self.assertNoResult(finished)
        self.clock.advance(3)
        first.callback(None)
        self.assertNoResult(finished)
        second.callback(None)
        self.successResultOf(finished)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_for_ever(self):
        first, second = Deferred(), Deferred()
        self.tasks.spawn("a", self.waiting(first))
        self.tasks.spawn("b", self.waiting(second))
        finished = self.finish(5)
        self.clock.advance(3)
        second.callback(None)
        self.clock.advance(1.9)
        self.assertNoResult(finished)
        self.clock.advance(0.1)
        self.successResultOf(finished)
        self.assertTrue(first.called)
        self.assertEqual(len(self.tasks), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
