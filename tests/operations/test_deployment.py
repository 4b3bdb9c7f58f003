"""The installation of tandemd: the Debian package, the units, the lock files."""

from __future__ import annotations

import re
import runpy
from typing import Any

import setuptools
import yaml
from twisted.trial.unittest import SynchronousTestCase

import tandemd
from tandemd.app.listener import CLOSE_TIMEOUT_SECONDS
from tandemd.config import load
from tandemd.config.schema import keys

from ..support.daemon_process import ROOT

DEBIAN = ROOT / "debian"


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit: the values of each setting, in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in (DEBIAN / name).read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            current.setdefault(key, []).append(value)
    return sections


class UnitTests(SynchronousTestCase):
    def test_an_instance_is_a_service_with_a_name_of_its_own(self) -> None:
        one, many = unit("tandemd.service")["Service"], unit("tandemd@.service")["Service"]
        self.assertEqual(many.pop("Environment"), ["NODE_ID=%l-%i"])
        self.assertEqual((one.pop("StateDirectory"), many.pop("StateDirectory")), (["tandemd"], ["tandemd/%i"]))
        self.assertEqual(one, many)

    def test_sockets(self) -> None:
        one, many = unit("tandemd.socket")["Socket"], unit("tandemd@.socket")["Socket"]
        self.assertEqual(many.pop("ReusePort"), ["yes"])
        self.assertEqual(one, many)
        self.assertEqual(one["ListenStream"], [str(load(None, {}, {}).port)])

    def test_it_may_stop_as_long_as_it_needs(self) -> None:
        (limit,) = unit("tandemd.service")["Service"]["TimeoutStopSec"]
        self.assertGreaterEqual(int(limit), load(None, {}, {}).drain_seconds + CLOSE_TIMEOUT_SECONDS + 10)

    def test_it_cannot_take_the_machine_down_and_leaves_no_core(self) -> None:
        service = unit("tandemd.service")["Service"]
        self.assertEqual((service["LimitCORE"], service["MemoryMax"]), (["0"], ["75%"]))

    def test_it_is_told_that_it_is_ready_and_always_restarted(self) -> None:
        service = unit("tandemd.service")["Service"]
        self.assertEqual((service["Type"], service["Restart"]), (["notify"], ["always"]))
        self.assertEqual(unit("tandemd.service")["Unit"]["StartLimitIntervalSec"], ["0"])


class PackageTests(SynchronousTestCase):
    def test_version(self) -> None:
        found = re.match(r"tandemd \(([^)]+)\)", (DEBIAN / "changelog").read_text())
        assert found is not None
        self.assertEqual(found[1], tandemd.__version__)

    def test_the_line_that_the_package_changes_is_there(self) -> None:
        """debian/rules gives the key its value by its comment."""
        self.assertIn("\n#port: 4001\n", (ROOT / "etc/tandemd.yaml").read_text())


class LockTests(SynchronousTestCase):
    def pinned(self, name: str) -> dict[str, str]:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        found = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                matched = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ; [^-]+?)? +(--hash=sha256:[0-9a-f]{64} *)+", line)
                self.assertIsNotNone(matched, line[:80])
                assert matched is not None
                found[matched[1]] = matched[2]
        return found

    def test_all_that_it_needs_is_pinned(self) -> None:
        given: dict[str, Any] = {}
        self.patch(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
        names = {re.split(r"[\[<>=;]", wanted)[0].lower().replace("_", "-") for wanted in given["install_requires"]}
        self.assertLessEqual(names, set(self.pinned("requirements.lock")))
        self.assertIn("setuptools", self.pinned("requirements-build.lock"))

    def test_they_name_no_index(self) -> None:
        for name in ("requirements.lock", "requirements-build.lock"):
            self.assertNotIn("://", (ROOT / name).read_text())


class ContainerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dockerfile = (ROOT / "Dockerfile").read_text()
        self.compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self.services: dict[str, dict[str, Any]] = self.compose["services"]
        self.nodes = {name: one for name, one in self.services.items() if one["image"].startswith("${IMAGE")}

    def test_the_user_is_the_one_of_kubernetes(self) -> None:
        (pod,) = [
            one["spec"]["template"]["spec"]
            for one in yaml.safe_load_all((ROOT / "k8s/base/deployment.yaml").read_text())
            if one["kind"] == "Deployment"
        ]
        context = pod["securityContext"]
        self.assertIn(f"USER {context['runAsUser']}:{context['runAsGroup']}\n", self.dockerfile)
        self.assertIn("-o 10001 -g 10001 -m 0700 /var/lib/tandemd", self.dockerfile)

    def test_all_that_is_copied_is_in_the_context(self) -> None:
        """The files that the build needs, and no secrets."""
        allowed = (ROOT / ".dockerignore").read_text().splitlines()
        self.assertEqual(allowed[0], "*")
        needed = {"requirements.lock", "requirements-build.lock", "setup.py", "pyproject.toml", "tandemd", "twisted"}
        self.assertLessEqual({f"!{name}" for name in needed}, set(allowed))

    def test_two_profiles(self) -> None:
        single = {name for name, one in self.services.items() if one.get("profiles", ["single"]) == ["single"]}
        cluster = {name for name, one in self.services.items() if one.get("profiles", ["cluster"]) == ["cluster"]}
        self.assertEqual(single, {"tandemd", "postgres", "redis"})
        self.assertEqual(cluster, {"node-1", "node-2", "node-3", "nginx", "postgres", "redis"})

    def test_nodes(self) -> None:
        known = {name for key in keys() for name in key.env}
        names = set()
        for name, node in self.nodes.items():
            self.assertTrue(node["read_only"], name)
            self.assertEqual((node["cap_drop"], node["security_opt"]), (["ALL"], ["no-new-privileges:true"]))
            self.assertLessEqual(set(node["environment"]), known)
            for store in ("postgres", "redis"):
                self.assertEqual(node["depends_on"][store], {"condition": "service_healthy"})
                self.assertIn("healthcheck", self.services[store])
            environ = {key: value for key, value in node["environment"].items() if "$" not in value}
            config = load(None, environ, {})
            self.assertTrue(config.uses_postgres and config.uses_redis)
            self.assertGreaterEqual(
                int(node["stop_grace_period"].rstrip("s")), config.drain_seconds + CLOSE_TIMEOUT_SECONDS + 10
            )
            names.add(config.node_id)
        self.assertEqual(len(names), len(self.nodes))
        volumes = [volume for node in self.nodes.values() for volume in node["volumes"]]
        self.assertEqual(len(volumes), len(set(volumes)))

    def test_images(self) -> None:
        """Tags name a release series, and a patch release only where a comment says which fix it is for."""
        self.assertEqual(
            (self.services["postgres"]["image"], self.services["redis"]["image"]), ("postgres:15", "redis:7.2.11")
        )
        for path in (ROOT / "docker-compose.yml", *(ROOT / "k8s").rglob("*.yaml")):
            text = path.read_text()
            for image in re.findall(r"(?m)^ *image: ((?:redis|postgres|nginx):.*)$", text):
                self.assertIn(image, ("postgres:15", "redis:7.2.11", "nginx:1.28"), path)
                if image.startswith("redis:"):
                    self.assertIn("CVE-2025-49844", text, path)

    def test_no_service_has_more_than_it_needs(self) -> None:
        for name, service in self.services.items():
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertIn("mem_limit", service, name)
        self.assertNotIn("REDIS_PASSWORD", str(self.services["redis"]["command"]))
        self.assertIn("maxmemory 384mb", self.services["redis"]["command"][-1])

    def test_no_secret_and_no_variable_without_explanation(self) -> None:
        example = (ROOT / ".env.example").read_text()
        used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
        explained = set(re.findall(r"(?m)^#?([A-Z_]+)=", example))
        self.assertEqual(used | {"COMPOSE_PROFILES"}, explained)
        self.assertEqual(re.findall(r"(?m)^\w*PASSWORD=(.*)$", example), ["", ""])

    def test_nginx_of_the_stack_is_the_documented_one(self) -> None:
        ours, documented = ((ROOT / "etc/nginx" / name).read_text() for name in ("compose.conf", "tandemd.conf"))

        def rest(text: str) -> str:
            return re.sub(r"(?m)^    server .*\n", "", text[text.index("\nupstream") :])

        self.assertEqual(rest(ours), rest(documented))
        self.assertEqual(re.findall(r"(?m)^    server (\S+):4001 ", ours), ["node-1", "node-2", "node-3"])
