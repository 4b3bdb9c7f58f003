"""The manifests for Kubernetes keep their promises. Schemas are checked by scripts/check_operations.py (`make check`).

The tests need no cluster: they read the output of `kubectl kustomize` for the overlays.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re
import runpy
from collections.abc import Iterator
from typing import Any

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tandemd.app.listener import CLOSE_TIMEOUT_SECONDS
from tandemd.config import Config, Redis, load
from tandemd.config.schema import keys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = runpy.run_path(str(ROOT / "scripts/check_operations.py"))
OVERLAYS = ("dev", "staging", "prod", "prod-managed")
SECRET_FILES = "/run/secrets/tandemd/"
Json = dict[str, Any]

SIZES = {"Mi": 2**20, "Gi": 2**30, "m": 0.001, "": 1.0}


def amount(written: str) -> float:
    """Return a quantity as Kubernetes writes it: 128Mi, 20Gi, 250m, 2."""
    match = re.fullmatch(r"(\d+)(\D*)", str(written))
    assert match is not None, written
    return float(match[1]) * SIZES[match[2]]


@functools.cache
def built(name: str) -> Overlay:
    if TOOLS["builder"]() is None:
        error = RuntimeError if os.environ.get("TANDEMD_TEST_REQUIRE_SERVERS") else SkipTest
        raise error(f"there is no kubectl: {TOOLS['REMEDIES']['kubectl']}")
    return Overlay(TOOLS["build"](ROOT / "k8s/overlays" / name))


class Overlay:
    """The objects of an overlay."""

    def __init__(self, documents: list[Json]):
        self.documents = documents

    def all(self, kind: str) -> dict[str, Json]:
        return {one["metadata"]["name"]: one for one in self.documents if one["kind"] == kind}

    def one(self, kind: str, name: str = "tandemd") -> Json:
        return self.all(kind)[name]

    @property
    def workloads(self) -> dict[str, Json]:
        return self.all("Deployment") | self.all("StatefulSet")

    @property
    def node(self) -> Json:
        """The container of a node."""
        (container,) = self.one("Deployment")["spec"]["template"]["spec"]["containers"]
        return dict(container)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a node."""
        environ = {}
        for source in self.node["envFrom"]:
            environ |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in self.node["env"]:
            environ[entry["name"]] = entry.get("value", "tandemd-5d8f7c-x2x4z")
        return environ

    @property
    def floor(self) -> int:
        """The lowest number of nodes."""
        if "tandemd" in self.all("HorizontalPodAutoscaler"):
            return int(self.one("HorizontalPodAutoscaler")["spec"]["minReplicas"])
        return int(self.one("Deployment")["spec"]["replicas"])

    @property
    def ceiling(self) -> int:
        """The highest number of nodes, during an update."""
        scaler = self.all("HorizontalPodAutoscaler").get("tandemd")
        most = scaler["spec"]["maxReplicas"] if scaler else self.one("Deployment")["spec"]["replicas"]
        return int(most + self.one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"])


class KubernetesTestCase(SynchronousTestCase):
    def overlays(self) -> Iterator[tuple[str, Overlay]]:
        for name in OVERLAYS:
            with self.subTest(name):
                yield name, built(name)

    def configuration(self, overlay: Overlay) -> Config:
        """Return the daemon's configuration from a pod's environment. Secrets are in files that are elsewhere here."""
        directory = pathlib.Path(self.mktemp())
        directory.mkdir()
        environ = {}
        for name, value in overlay.environ.items():
            if value.startswith(SECRET_FILES):
                file = directory / value.removeprefix(SECRET_FILES)
                file.write_text("s" * 64 + "\n")
                environ[name] = str(file)
            else:
                environ[name] = value
        return load(None, environ, {}, hostname="wrong")


class PromiseTests(KubernetesTestCase):
    def test_sizes(self) -> None:
        """Replicas, memory and log level of each overlay."""
        promised = {
            "dev": (1, "128Mi", "debug"),
            "staging": (2, "256Mi", "info"),
            "prod": (5, "512Mi", "warn"),
            "prod-managed": (5, "512Mi", "warn"),
        }
        for name, overlay in self.overlays():
            resources = overlay.node["resources"]
            level = self.configuration(overlay).log.level
            self.assertEqual((overlay.floor, resources["limits"]["memory"], level), promised[name])
            self.assertEqual(resources["requests"]["memory"], resources["limits"]["memory"])

    def test_stores(self) -> None:
        for name, replicas in {"dev": 1, "staging": 1, "prod": 3}.items():
            sets = built(name).all("StatefulSet")
            sizes = {
                one: claim["spec"]["resources"]["requests"]["storage"]
                for one, found in sets.items()
                for claim in found["spec"]["volumeClaimTemplates"]
            }
            self.assertEqual(sizes, {"postgresql": "20Gi", "redis": "5Gi"})
            self.assertEqual(sets["redis"]["spec"]["replicas"], replicas)
            (config,) = (c for n, c in built(name).all("ConfigMap").items() if n.startswith("redis-config"))
            settings = config["data"]["redis.conf"].splitlines()
            self.assertIn("appendonly yes", settings)
            # With any other the daemon does not start.
            self.assertIn("maxmemory-policy noeviction", settings)
            self.assertEqual("min-replicas-to-write 1" in settings, name == "prod")
        self.assertEqual(built("prod-managed").all("StatefulSet"), {})

    def test_production_has_no_single_point_of_failure(self) -> None:
        prod = built("prod")
        redis = prod.one("StatefulSet", "redis")["spec"]["template"]["spec"]
        self.assertEqual([container["name"] for container in redis["containers"]], ["redis", "sentinel"])
        apart = redis["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        self.assertEqual([term["topologyKey"] for term in apart], ["kubernetes.io/hostname"])
        zones = prod.one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
        self.assertEqual(zones[0]["topologyKey"], "topology.kubernetes.io/zone")
        for name in ("tandemd", "redis"):
            self.assertEqual(prod.one("PodDisruptionBudget", name)["spec"]["maxUnavailable"], 1)
        sentinels = self.configuration(prod).redis.sentinels
        self.assertEqual(sentinels, tuple(f"redis-{number}.redis:26379" for number in range(3)))

    def test_autoscaling(self) -> None:
        spec = built("prod").one("HorizontalPodAutoscaler")["spec"]
        self.assertEqual(spec["scaleTargetRef"]["name"], "tandemd")
        self.assertEqual((spec["minReplicas"], spec["maxReplicas"]), (5, 10))
        kinds = {metric["type"]: metric for metric in spec["metrics"]}
        self.assertEqual(kinds["Pods"]["pods"]["metric"]["name"], "tandemd_connections")
        self.assertEqual(kinds["Resource"]["resource"]["name"], "cpu")
        # Applying the overlay must not undo a change of the autoscaler.
        self.assertNotIn("replicas", built("prod").one("Deployment")["spec"])
        # A share of the CPU is a share of the request.
        self.assertIn("cpu", built("prod").node["resources"]["requests"])

    def test_a_pod_has_the_time_that_it_needs_to_drain(self) -> None:
        for _, overlay in self.overlays():
            pod = overlay.one("Deployment")["spec"]["template"]["spec"]
            command = overlay.node["lifecycle"]["preStop"]["exec"]["command"]
            self.assertEqual(command[0], "sleep")
            drain = self.configuration(overlay).drain_seconds
            self.assertGreater(drain, 0)
            # Ten seconds are for the last writes to the archive.
            needed = float(command[1]) + drain + CLOSE_TIMEOUT_SECONDS + 10
            self.assertLessEqual(needed, pod["terminationGracePeriodSeconds"])
            # Before the sleep is over, all clients of the service have to know that the pod is going.
            self.assertGreaterEqual(float(command[1]), 3)

    def test_probes(self) -> None:
        for _, overlay in self.overlays():
            for probe, path in (("startup", ""), ("liveness", ""), ("readiness", "/ready")):
                got = overlay.node[f"{probe}Probe"]["httpGet"]
                self.assertEqual(got, {"path": f"/health{path}", "port": "http"})


class ConfigurationTests(KubernetesTestCase):
    def test_the_daemon_understands_it(self) -> None:
        for name, overlay in self.overlays():
            config = self.configuration(overlay)
            self.assertTrue(config.uses_postgres and config.uses_redis)
            self.assertEqual(config.node_id, "tandemd-5d8f7c-x2x4z")
            self.assertEqual(config.web.trusted_proxies, 1)
            self.assertEqual(config.postgres.password, "s" * 64)
            self.assertEqual(config.redis.password, "s" * 64)
            if name == "prod":
                self.assertEqual(config.redis.sentinel_password, "s" * 64)
            ports = {port["name"]: port["containerPort"] for port in overlay.node["ports"]}
            self.assertEqual(ports, {"http": int(config.port)})
            mounted = {mount["mountPath"] for mount in overlay.node["volumeMounts"]}
            self.assertIn(config.state_dir, mounted)

    def test_every_name_in_it_is_one_of_a_key(self) -> None:
        known = {
            name + suffix
            for key in keys()
            for name in key.env
            for suffix in (("", "_FILE") if key.kind.secret else ("",))
        }
        for _, overlay in self.overlays():
            self.assertLessEqual(set(overlay.environ), known)

    def test_hosts_are_those_of_its_services(self) -> None:
        for name in ("dev", "staging", "prod"):
            overlay = built(name)
            config, services = self.configuration(overlay), overlay.all("Service")
            self.assertIn(config.postgres.host, services)
            self.assertEqual(services[config.postgres.host]["spec"]["ports"][0]["port"], config.postgres.port)
            if config.redis.sentinels:
                self.assertTrue(all(one.split(":")[0].split(".")[1] in services for one in config.redis.sentinels))
            else:
                self.assertIn(config.redis.host, services)
            database = overlay.one("StatefulSet", "postgresql")["spec"]["template"]["spec"]["containers"][0]
            given = {entry["name"]: entry["value"] for entry in database["env"]}
            self.assertEqual((given["POSTGRES_DB"], given["POSTGRES_USER"]), (config.postgres.db, config.postgres.user))

    def test_the_name_of_the_master_is_that_of_the_sentinels(self) -> None:
        script = (ROOT / "k8s/components/redis-sentinel/start.sh").read_text()
        self.assertIn(f"\nNAME={self.configuration(built('prod')).redis.sentinel_master}\n", script)

    def test_connections_to_the_database_are_enough_for_all(self) -> None:
        for name in ("dev", "staging", "prod"):
            overlay = built(name)
            # PostgreSQL has 100, three of which are kept for its administrator.
            self.assertLess(overlay.ceiling * self.configuration(overlay).postgres.pool_size, 97)

    def test_redis_has_room_for_the_journal(self) -> None:
        """An entry is about 500 bytes in Redis, 1 KB at most; rooms need some too."""
        for component in ("redis", "redis-sentinel"):
            settings = (ROOT / "k8s/components" / component / "redis.conf").read_text()
            match = re.search(r"^maxmemory (\d+)mb$", settings, re.MULTILINE)
            assert match is not None
            self.assertGreater(int(match[1]) * 2**20, 2 * 500 * Redis().journal_length)
            self.assertGreater(int(match[1]) * 2**20, 3 * Redis().journal_bytes)

    def test_redis_has_memory_beyond_what_it_may_fill(self) -> None:
        for name in ("dev", "staging", "prod"):
            (config,) = (c for n, c in built(name).all("ConfigMap").items() if n.startswith("redis-config"))
            match = re.search(r"^maxmemory (\d+)mb$", config["data"]["redis.conf"], re.MULTILINE)
            assert match is not None
            container = built(name).one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"][0]
            self.assertLessEqual(int(match[1]) * 2**20 * 1.3, amount(container["resources"]["limits"]["memory"]))


class SecretTests(KubernetesTestCase):
    def test_none_is_in_clear(self) -> None:
        for _, overlay in self.overlays():
            self.assertEqual(overlay.all("Secret"), {})
            for config in overlay.all("ConfigMap").values():
                for name, value in config["data"].items():
                    if re.search("PASSWORD|TOKEN|SECRET|URL", name):
                        self.assertTrue(value.startswith(SECRET_FILES), name)
            for workload in overlay.workloads.values():
                for container in workload["spec"]["template"]["spec"]["containers"]:
                    for entry in container.get("env", ()):
                        if re.search("PASSWORD|TOKEN|SECRET|URL", entry["name"]):
                            self.assertTrue(entry["value"].startswith(SECRET_FILES), entry["name"])

    def test_every_file_is_in_the_example(self) -> None:
        (secret,) = TOOLS["secrets"]()
        self.assertEqual(secret["metadata"]["name"], "tandemd-secrets")
        for _, overlay in self.overlays():
            files = {value for value in overlay.environ.values() if value.startswith(SECRET_FILES)}
            self.assertLessEqual({file.removeprefix(SECRET_FILES) for file in files}, set(secret["data"]))
            for workload in overlay.workloads.values():
                for volume in workload["spec"]["template"]["spec"]["volumes"]:
                    if "secret" in volume:
                        self.assertEqual(volume["secret"]["secretName"], "tandemd-secrets")
                        named = {item["key"] for item in volume["secret"].get("items", ())}
                        self.assertLessEqual(named, set(secret["data"]))

    def test_what_is_filled_in_is_not_committed(self) -> None:
        self.assertIn("secrets.env", (ROOT / "k8s/secrets/.gitignore").read_text().splitlines())
        for line in (ROOT / "k8s/secrets/secrets.env.example").read_text().splitlines():
            self.assertTrue(line.startswith("#") or line.endswith("="), line)


class SecurityTests(KubernetesTestCase):
    def test_pods(self) -> None:
        """The rules of the `restricted` level of the namespace, and more: only the necessary directories can be written."""
        for _, overlay in self.overlays():
            (namespace,) = overlay.all("Namespace").values()
            self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
            for name, workload in overlay.workloads.items():
                pod = workload["spec"]["template"]["spec"]
                self.assertIs(pod["enableServiceLinks"], False, name)
                self.assertIs(pod["automountServiceAccountToken"], False, name)
                self.assertEqual(pod["serviceAccountName"], "tandemd")
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in pod["containers"]:
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertLessEqual({"cpu", "memory"}, set(container["resources"]["requests"]))

    def test_the_account_has_no_rights(self) -> None:
        for _, overlay in self.overlays():
            self.assertIs(overlay.one("ServiceAccount")["automountServiceAccountToken"], False)
            for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
                self.assertEqual(overlay.all(kind), {})

    def test_everything_is_in_the_namespace(self) -> None:
        for _, overlay in self.overlays():
            (name,) = overlay.all("Namespace")
            for document in overlay.documents:
                if document["kind"] != "Namespace":
                    self.assertEqual(document["metadata"].get("namespace"), name, document["kind"])

    def test_quotas_are_enough(self) -> None:
        """Everything at its largest fits, and not much more than that."""
        for _, overlay in self.overlays():
            hard = overlay.one("ResourceQuota")["spec"]["hard"]
            used = dict.fromkeys(("pods", "requests.cpu", "requests.memory", "limits.memory", "requests.storage"), 0.0)
            for name, workload in overlay.workloads.items():
                spec = workload["spec"]
                count = overlay.ceiling if name == "tandemd" else spec["replicas"]
                used["pods"] += count
                for container in spec["template"]["spec"]["containers"]:
                    for kind, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
                        used[f"{kind}.{what}"] += count * amount(container["resources"][kind][what])
                for claim in spec.get("volumeClaimTemplates", ()):
                    used["requests.storage"] += count * amount(claim["spec"]["resources"]["requests"]["storage"])
            for what, needed in used.items():
                self.assertLessEqual(needed, amount(hard[what]), what)

    def test_the_ingress_shows_no_figures_and_no_administration(self) -> None:
        for _, overlay in self.overlays():
            spec = overlay.one("Ingress")["spec"]
            (rule,) = spec["rules"]
            paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
            self.assertEqual(paths["/"], "Exact")
            for hidden in ("/metrics", "/admin/v1/rooms", "/health/ready"):
                for path, kind in paths.items():
                    self.assertFalse(hidden == path or (kind == "Prefix" and hidden.startswith(path)), (hidden, path))
            self.assertEqual(spec["tls"][0]["hosts"], [rule["host"]])
            notes = overlay.one("Ingress")["metadata"]["annotations"]
            for side in ("read", "send"):
                self.assertGreaterEqual(int(notes[f"nginx.ingress.kubernetes.io/proxy-{side}-timeout"]), 3600)

    def test_the_ingress_publishes_all_other_paths(self) -> None:
        """Those of docs/openapi.yaml: without the client library, for example, the party page does not start."""
        documented = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())["paths"]
        public = {path for path in documented if not path.startswith(("/metrics", "/admin", "/health/ready"))}
        self.assertLessEqual({"/", "/ws", "/client/{file}"}, public)
        for _, overlay in self.overlays():
            (rule,) = overlay.one("Ingress")["spec"]["rules"]
            for path in public:
                ways = {way["path"] for way in rule["http"]["paths"] if way["pathType"] == "Prefix"}
                exact = {way["path"] for way in rule["http"]["paths"]}
                self.assertTrue(path in exact or any(path.startswith(f"{way}/") for way in ways), path)


class LabelTests(KubernetesTestCase):
    def pods(self, overlay: Overlay) -> dict[str, dict[str, str]]:
        """Return the labels of each workload's pods."""
        return {name: one["spec"]["template"]["metadata"]["labels"] for name, one in overlay.workloads.items()}

    def chosen(self, overlay: Overlay, selector: dict[str, str]) -> set[str]:
        return {name for name, labels in self.pods(overlay).items() if selector.items() <= labels.items()}

    def test_selectors_find_their_pods_and_no_others(self) -> None:
        for _, overlay in self.overlays():
            for name, workload in overlay.workloads.items():
                self.assertEqual(self.chosen(overlay, workload["spec"]["selector"]["matchLabels"]), {name})
                for spread in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
                    self.assertEqual(self.chosen(overlay, spread["labelSelector"]["matchLabels"]), {name})
            for name, service in overlay.all("Service").items():
                self.assertEqual(self.chosen(overlay, service["spec"]["selector"]), {name})
            for name, budget in overlay.all("PodDisruptionBudget").items():
                self.assertEqual(self.chosen(overlay, budget["spec"]["selector"]["matchLabels"]), {name})
            for name, monitor in overlay.all("ServiceMonitor").items():
                found = [
                    one
                    for one, service in overlay.all("Service").items()
                    if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
                ]
                self.assertEqual(found, [name])
                # The rules go by this name.
                self.assertEqual(monitor["spec"]["jobLabel"], "app.kubernetes.io/name")
                self.assertEqual(overlay.one("Service")["metadata"]["labels"]["app.kubernetes.io/name"], "tandemd")

    def test_ports_that_are_named_are_there(self) -> None:
        for _, overlay in self.overlays():
            for name, service in overlay.all("Service").items():
                containers = overlay.workloads[name]["spec"]["template"]["spec"]["containers"]
                named = {port["name"] for container in containers for port in container["ports"]}
                self.assertEqual({port["targetPort"] for port in service["spec"]["ports"]}, named)
            ports = {port["name"] for port in overlay.one("Service")["spec"]["ports"]}
            for rule in overlay.one("Ingress")["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    self.assertEqual(path["backend"]["service"]["name"], "tandemd")
                    self.assertIn(path["backend"]["service"]["port"]["name"], ports)

    # -- network policies

    def allowed(self, overlay: Overlay, direction: str, pod: str) -> set[tuple[str, int]]:
        """Return with whom a pod may talk, and on which port: workloads by name, other namespaces as "NAMESPACE/"."""
        found = set()
        for policy in overlay.all("NetworkPolicy").values():
            spec = policy["spec"]
            if pod not in self.chosen(overlay, spec["podSelector"].get("matchLabels", {})):
                continue
            for rule in spec.get(direction, ()):
                for peer in rule["from" if direction == "ingress" else "to"]:
                    names: set[str] = set()
                    if "namespaceSelector" in peer:
                        self.assertIn("podSelector", peer, "a whole namespace is too much")
                        names = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] + "/"}
                    elif "podSelector" in peer:
                        names = self.chosen(overlay, peer["podSelector"]["matchLabels"])
                        self.assertNotEqual(names, set(), peer)
                    else:
                        names = {peer["ipBlock"]["cidr"]}
                    found |= {(name, port["port"]) for name in names for port in rule["ports"]}
        return found

    def test_nothing_is_allowed_that_is_not_named(self) -> None:
        for _, overlay in self.overlays():
            nothing = overlay.one("NetworkPolicy", "nothing")["spec"]
            self.assertEqual(nothing, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
            for pod in overlay.workloads:
                own = [
                    policy
                    for policy in overlay.all("NetworkPolicy").values()
                    if pod in self.chosen(overlay, policy["spec"]["podSelector"].get("matchLabels", {"no": "such"}))
                ]
                self.assertTrue(own, f"no policy is about {pod}")

    def test_exactly_what_is_needed(self) -> None:
        web = {("ingress-nginx/", 4001)}
        figures = {("monitoring/", 4001)}
        names = {("kube-system/", 53)}
        sql, redis, sentinel = ("postgresql", 5432), ("redis", 6379), ("redis", 26379)
        node = "tandemd"
        expected: dict[str, dict[str, tuple[set[tuple[str, int]], set[tuple[str, int]]]]] = {
            "dev": {
                node: (web, names | {sql, redis}),
                "postgresql": ({(node, 5432)}, set()),
                "redis": ({(node, 6379)}, set()),
            },
            "staging": {
                node: (web | figures, names | {sql, redis}),
                "postgresql": ({(node, 5432)}, set()),
                "redis": ({(node, 6379)}, set()),
            },
            "prod": {
                node: (web | figures, names | {sql, redis, sentinel}),
                "postgresql": ({(node, 5432)}, set()),
                "redis": ({(node, 6379), (node, 26379), redis, sentinel}, names | {redis, sentinel}),
            },
            "prod-managed": {
                node: (web | figures, names | {("192.0.2.0/24", 5432), ("192.0.2.0/24", 6379)}),
            },
        }
        for name, overlay in self.overlays():
            found = {
                pod: (self.allowed(overlay, "ingress", pod), self.allowed(overlay, "egress", pod))
                for pod in overlay.workloads
            }
            self.assertEqual(found, expected[name])
