"""The log: the content of a line, and the choice of lines."""

import io
import json
import sys
from pathlib import Path
from typing import Any, cast

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher as LegacyPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tandemd.app import log_observer


class LogsTestCase(SynchronousTestCase):
    def setUp(self):
        self.out = io.BytesIO()

    def observer(self, format="json", level="info"):
        return log_observer.LineObserver(self.out, log_observer.FORMATS[format], level, node="n1")

    def logger(self, observer, namespace="tandemd.test"):
        return Logger(namespace, observer=LogPublisher(observer))

    @property
    def lines(self):
        return self.out.getvalue().decode().splitlines()

    @property
    def objects(self):
        return [json.loads(line) for line in self.lines]


class JSON(LogsTestCase):
    def test_event(self):
        self.logger(self.observer()).info(
            "user {user} joined {room}", event="member_joined", user="u1", room="r1", extra=[1]
        )
        (line,) = self.objects
        self.assertRegex(line.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            line,
            {
                "level": "info",
                "event": "member_joined",
                "node": "n1",
                "logger": "tandemd.test",
                "message": "user u1 joined r1",
                "user": "u1",
                "room": "r1",
                "extra": [1],
            },
        )

    def test_failure(self):
        try:
            raise KeyError("x")
        except KeyError:
            self.logger(self.observer()).failure("{task} failed", task="purge")
        (line,) = self.objects
        self.assertEqual((line["level"], line["error"], line["message"]), ("critical", "KeyError", "purge failed"))
        self.assertIn("Traceback", line["traceback"])

    def test_lines_of_libraries(self):
        """They have all fields, too."""
        observer = log_observer.LineObserver(self.out, log_observer.json_line, "info", at_least={}, node="n1")
        for namespace in ("twisted.web.http", "autobahn", ""):
            self.logger(observer, namespace).info("m")
        self.assertEqual([line["event"] for line in self.objects], ["twisted", "autobahn", "unknown"])
        self.assertEqual({line["node"] for line in self.objects}, {"n1"})

    def test_time_of_a_whole_second(self):
        line = json.loads(log_observer.json_line({"log_time": 1_700_000_000}))
        self.assertEqual(line["time"], "2023-11-14T22:13:20.000Z")

    def test_legacy_events(self):
        publisher = LogPublisher(log_observer.LineObserver(self.out, log_observer.json_line, "info", at_least={}))
        legacy = LegacyPublisher(observerPublisher=publisher, publishPublisher=publisher)
        legacy.msg("plain", system="x")
        legacy.msg(failure=Failure(ValueError("v")), why="because", isError=1)
        plain, error = self.objects
        self.assertEqual((plain["message"], plain["level"]), ("plain", "info"))
        self.assertEqual((error["error"], error["level"]), ("ValueError", "critical"))

    def test_fields_do_not_replace_what_the_log_says(self):
        self.logger(self.observer()).info("m", time="t", logger="x", message="y")
        (line,) = self.objects
        self.assertEqual((line["level"], line["logger"], line["message"]), ("info", "tandemd.test", "m"))

    def test_whatever_the_fields_are_it_is_one_line(self):
        loop = []
        loop.append(loop)
        log = self.logger(self.observer())
        for value in (b"\xff", "\ud800\n\u2028", object(), {1: {2}}, {(1, 2): 3}, loop, float):
            log.info("v={value}", value=value)
        self.assertEqual(len(self.lines), 7)
        self.assertEqual(len(self.objects), 7)


class Text(LogsTestCase):
    def test_event(self):
        self.observer("text")(
            {"log_time": 0.25, "log_level": LogLevel.warn, "log_format": "a {b}", "b": 1, "log_namespace": "n"}
        )
        self.assertEqual(self.lines, ["1970-01-01T00:00:00.250Z warn     a 1  [n]"])

    def test_what_clients_send_makes_no_lines(self):
        self.logger(self.observer("text")).info("name {n}", n="a\n1970 critical\x1b[31m \ud800")
        (line,) = self.lines
        self.assertIn(r"name a\n1970 critical\x1b[31m \ud800", line)

    def test_traceback_is_indented(self):
        self.logger(self.observer("text")).failure("f", failure=Failure(ValueError("v")))
        self.assertIn("critical f", self.lines[0])
        self.assertTrue(self.lines[1:])
        self.assertTrue(all(line.startswith("    ") for line in self.lines[1:]))


class Levels(LogsTestCase):
    def test_level(self):
        observer = self.observer(level="warn")
        log = self.logger(observer)
        log.info("a")
        log.warn("b")
        observer.set_level("debug")
        log.debug("c")
        self.assertEqual([line["message"] for line in self.objects], ["b", "c"])

    def test_noisy_namespaces(self):
        observer = self.observer(level="debug")
        for namespace in ("autobahn", "autobahn.twisted.websocket.X", "autobahnlike"):
            log = self.logger(observer, namespace)
            log.info(namespace)
            log.warn("warn")
        self.assertEqual([line["message"] for line in self.objects], ["autobahnlike", "warn"])


class Installation(LogsTestCase):
    def test_twistd_finds_it(self):
        application, observer = Componentized(), self.observer()
        log_observer.install(application, observer)
        self.assertIs(application.getComponent(ILogObserver), observer)
        verifyObject(ILogObserver, observer)

    def test_standard_output(self):
        for options in ({"nodaemon": 1}, {"nodaemon": 1, "logfile": "-"}, {}):
            self.assertIs(log_observer.destination(options), sys.__stdout__.buffer)

    def test_twistd_does_it_itself(self):
        self.assertIsNone(log_observer.destination({"nodaemon": 1, "syslog": 1}))
        self.assertIsNone(log_observer.destination({"nodaemon": 1, "logger": "some.factory"}))

    def test_file(self):
        path = self.mktemp()
        out = log_observer.destination({"nodaemon": 1, "logfile": path})
        assert out is not None
        self.addCleanup(cast(Any, out).close)
        self.logger(log_observer.LineObserver(out, log_observer.json_line, "info")).info("kept")
        self.assertEqual(json.loads(Path(path).read_text())["message"], "kept")
