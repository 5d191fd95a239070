"""`parkube parking operator`: runs the operator with kopf until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kopf

from parkube.parking.operator.cluster import Cluster
from parkube.parking.operator.desired import GARAGE_DATA
from parkube.parking.operator.handlers import World, register
from parkube.parking.operator.platform import Platform

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def login(**context: Any) -> kopf.ConnectionInfo | None:
    """Who the operator is: the pod's service account, or the kubeconfig where it runs outside a cluster.

    The API server's address comes from the environment, so that no cluster DNS is needed.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").exists():
        return kopf.login_with_kubeconfig(**context)
    return kopf.ConnectionInfo(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_path=str(SERVICE_ACCOUNT / "ca.crt"), token=(SERVICE_ACCOUNT / "token").read_text().strip(), scheme="Bearer",
    )  # fmt: skip


async def run(options: argparse.Namespace, token: str) -> None:
    """Serve the Garages of one namespace."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(login)
    platform, cluster = Platform(options.platform_url, token), Cluster(options.namespace)
    register(registry, World(cluster, platform, options.public_url, options.garage_image, options.garage_data))
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the CRDs are there before the operator, and no right on namespaces is needed
    settings.persistence.finalizer = "parkube.io/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="operator.parkube.io")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="operator.parkube.io")
    try:
        await kopf.operator(registry=registry, settings=settings, namespace=options.namespace, standalone=True)
    finally:
        await platform.close()


def main(argv: Sequence[str]) -> int:
    """Entry point of `parkube parking operator`; every option has its environment variable."""
    parser = argparse.ArgumentParser(
        prog="parkube parking operator",
        description="Run the operator of Garage resources; its secret is in PARKUBE_OPERATOR_TOKEN.",
    )
    environ = os.environ
    for name, default, text in (
        ("namespace", "parkube", "where the Garages are"),
        ("platform-url", "", "where this program reaches the platform; needed"),
        ("public-url", "", "where the garages reach the platform; needed"),
        ("garage-image", "docker.io/parkube/garage:dev", "the garage app"),
        ("garage-data", GARAGE_DATA, "where nodes keep the journals"),
    ):
        variable = "PARKUBE_" + name.replace("-", "_").upper()
        said = f"{text} (default {default}) [${variable}]" if default else f"{text} [${variable}]"
        parser.add_argument(f"--{name}", default=environ.get(variable, default), help=said)
    options = parser.parse_args(argv)
    token = environ.get("PARKUBE_OPERATOR_TOKEN", "")
    missing = [f"--{n}" for n in ("platform-url", "public-url") if not getattr(options, n.replace("-", "_"))]
    missing += [] if token else ["PARKUBE_OPERATOR_TOKEN"]
    if missing:
        print(f"parkube: the operator needs {', '.join(missing)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for library in ("httpx", "httpx2"):  # each request would be a line; lightkube speaks through httpx2
        logging.getLogger(library).setLevel(logging.WARNING)
    asyncio.run(run(options, token))
    return 0
