"""The dashboard and the alerts: their metrics exist, and a woken operator finds the reason."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app.metrics import NodeMetrics
from tandemd.config import Config
from tandemd.metrics import Histogram, LabeledCounter

from ..support.daemon_process import Daemon, DaemonTestCase

ROOT = Path(__file__).resolve().parent.parent.parent
DASHBOARD = json.loads((ROOT / "etc/grafana/tandemd.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "etc/prometheus/tandemd.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPED = {"up"}
"""The labels that Prometheus adds by itself."""
LABELS = {"job", "instance", "le", "version"}
"""Labels that Prometheus adds, and that of tandemd_build_info."""


def expressions() -> Iterator[str]:
    """Return all that is asked of Prometheus."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (note["expr"] for note in DASHBOARD["annotations"]["list"])
    yield from (rule["expr"] for rule in RULES)


def asked(expression: str) -> set[str]:
    """Return the metrics that an expression is about."""
    return set(re.findall(r"\b(?:tandemd|process|python)_\w+|\bup(?=\{)", expression))


class ExistingTests(DaemonTestCase):
    async def test_every_metric_is_one_of_a_running_node(self) -> None:
        daemon = await self.running()
        status, body = await self.get(f"http://127.0.0.1:{daemon.port}/metrics")
        self.assertEqual(status, 200)
        names = set(SCRAPED)
        for family in text_string_to_metric_families(body.decode()):
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
            names |= {family.name + ending for ending in endings}
        for expression in expressions():
            with self.subTest(expression):
                self.assertTrue(asked(expression))
                self.assertLessEqual(asked(expression), names)
        # The figure that decides about a page is the right one.
        self.assertIn(b"\ntandemd_ready 1.0\n", body)


class CountedTests(DaemonTestCase):
    """The figures of a node that answers requests, handshakes, JOINs and commands."""

    async def metrics(self, daemon: Daemon) -> dict[str, float]:
        _, body = await self.get(f"http://127.0.0.1:{daemon.port}/metrics")
        return {
            sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    async def test_requests_handshakes_joins_and_commands(self) -> None:
        for fast in ("true", "false"):
            daemon = await self.running(
                "--state-dir", str(self.home / fast), TANDEMD_FAST_PATH=fast, TANDEMD_WEB_ALLOWED_ORIGINS="self"
            )
            url = f"http://127.0.0.1:{daemon.port}"
            for path, status in (("/health", 200), ("/nope", 404), ("/nope", 404), ("/room/x", 404), ("/ws", 426)):
                self.assertEqual((await self.get(url + path))[0], status)
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
            for headers, status in (
                ({**upgrade, **key, "Origin": "https://evil.example"}, 403),
                ({**upgrade, "Sec-WebSocket-Key": "short"}, 400),
                (upgrade, 400),
            ):
                self.assertEqual((await self.get(f"{url}/ws", headers))[0], status)
            client = await self.connect(daemon)
            await client.join("room", "ann")
            for number in range(40):
                await client.do(
                    "SEEK" if number % 2 else "CHAT", **({"currentTime": number} if number % 2 else {"text": "x"})
                )
            found = await self.metrics(daemon)
            self.assertEqual(found["tandemd_http_responses_total 200"], 1)
            self.assertEqual(found["tandemd_http_responses_total 404"], 3)
            self.assertEqual(found["tandemd_http_responses_total 426"], 1)
            self.assertEqual(found["tandemd_http_responses_total 403"], 0)
            self.assertEqual(found["tandemd_handshakes_rejected_total 403"], 1)
            self.assertEqual(found["tandemd_handshakes_rejected_total 400"], 2)
            self.assertEqual(found["tandemd_handshakes_rejected_total 429"], 0)
            self.assertEqual(found["tandemd_join_latency_seconds_count"], 1)
            self.assertGreaterEqual(found["tandemd_command_latency_seconds_count"], 3)
            self.assertLess(found["tandemd_command_latency_seconds_count"], 10)
            self.assertIn(1.0, [value for name, value in found.items() if name.startswith("tandemd_build_info")])

    def test_buckets_of_the_drift_can_fill(self) -> None:
        bounds = NodeMetrics("1", "n").rooms.host_drift.bounds
        self.assertGreater(bounds[0], Config().rooms.drift)
        self.assertGreaterEqual(bounds[-1], 60)


class RuleTests(SynchronousTestCase):
    def test_labels(self) -> None:
        """A label that a metric does not have would make a sum of nothing."""
        labels = {
            instrument.name: {instrument.label} - {""}
            for group in NodeMetrics("1", "n").groups()
            for instrument in group.instruments()
            if isinstance(instrument, LabeledCounter | Histogram)
        }
        for expression in expressions():
            # job and instance of the dashboard's choice do not matter.
            used = set(re.findall(r'\b(\w+)=~?"', expression)) | {
                label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")
            }
            known = set(LABELS)
            for name in asked(expression):
                known |= labels.get(name, labels.get(name.removesuffix("_bucket"), set()))
            self.assertLessEqual(used, known, expression)

    def test_what_is_watched(self) -> None:
        """The alerts that page an operator: the list is the promise."""
        watched = " ".join(rule["expr"] for rule in RULES)
        for metric in (
            "tandemd_ready",
            "tandemd_journal_age_seconds",
            "tandemd_commit_conflicts_total",
            "tandemd_reactor_lag_seconds",
            "tandemd_messages_refused_total",
            "tandemd_connections_opened_total",
            "tandemd_host_drift_seconds",
            "tandemd_guests_out_of_sync",
        ):
            self.assertIn(metric, watched)

    def test_each_alert_has_a_runbook_section(self) -> None:
        for rule in RULES:
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
            self.assertEqual(
                rule["annotations"]["runbook_url"],
                f"https://tandemd.example.org/docs/operations#{rule['alert'].lower()}",
            )

    def test_every_alert_has_its_runbook(self) -> None:
        document = ROOT / "docs/operations.md"
        headings = set(re.findall(r"^#+ +(\w+)", document.read_text(), re.MULTILINE))
        self.assertEqual({rule["alert"] for rule in RULES} - headings, set())

    def test_the_documented_command_makes_runbook_links_absolute(self) -> None:
        (command,) = re.findall(r"sed -i '(s\|.*\|)' tandemd.rules.yaml", (ROOT / "docs/operations.md").read_text())
        for path in ("etc/prometheus/tandemd.rules.yaml", "k8s/components/monitoring/prometheusrule.yaml"):
            replaced = subprocess.run(
                ["sed", command, str(ROOT / path)], check=True, capture_output=True, text=True, timeout=60
            )
            links = re.findall(r"runbook_url: (.*)", replaced.stdout)
            self.assertEqual(len(links), len(RULES), path)
            for link in links:
                self.assertRegex(link, r"^https://wiki\.example\.org/tandemd/operations#tandemd\w+$")

    def test_every_alert_is_tested(self) -> None:
        """By promtool, in scripts/check_operations.py: here only that a case exists in which it fires."""
        tests = yaml.safe_load((ROOT / "etc/prometheus/tandemd.tests.yaml").read_text())["tests"]
        fired = {
            case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")
        }
        self.assertEqual({rule["alert"] for rule in RULES}, fired)

    def test_the_manifest_has_the_same_rules(self) -> None:
        script = runpy.run_path(str(ROOT / "scripts/check_operations.py"))
        self.assertEqual(script["PROMETHEUS_RULE"].read_text(), script["manifest_of_rules"]())


class DashboardTests(SynchronousTestCase):
    def test_panels(self) -> None:
        panels: list[dict[str, Any]] = DASHBOARD["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} lies over another panel")
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells

    def test_any_prometheus_will_do(self) -> None:
        for panel in DASHBOARD["panels"]:
            if panel["type"] != "row":
                self.assertEqual(panel["datasource"]["uid"], "${datasource}", panel["title"])

    def test_alerts_are_found_in_it(self) -> None:
        """The subject of an alert can be seen; up and the absence of everything need no panel."""
        shown = set().union(*(asked(target["expr"]) for p in DASHBOARD["panels"] for target in p.get("targets", ())))
        for rule in RULES:
            self.assertLessEqual(asked(rule["expr"]) - SCRAPED, shown, rule["alert"])

    def test_every_metric_of_a_node_is_shown(self) -> None:
        expressions = " ".join(target["expr"] for p in DASHBOARD["panels"] for target in p.get("targets", ()))
        for group in NodeMetrics("1", "n").groups():
            for instrument in group.instruments():
                self.assertIn(instrument.name, expressions)
