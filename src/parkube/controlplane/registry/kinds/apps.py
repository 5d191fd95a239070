"""Deployment, ReplicaSet, DaemonSet, ControllerRevision: rows and rules."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource

SCALE_PATHS = (".spec.replicas", ".status.replicas", ".spec.selector")


class DeploymentStrategy(KindStrategy):
    """A selector that stays, and matches its template."""

    generation = True


class ReplicaSetStrategy(KindStrategy):
    """A selector that stays, and matches its template."""

    generation = True


class DaemonSetStrategy(KindStrategy):
    """A selector that stays, and matches its template."""

    generation = True


class ControllerRevisionStrategy(PlainStrategy):
    """A snapshot: its data stays."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row("apps", "v1", "controllerrevisions", "ControllerRevision", ControllerRevisionStrategy()),
        row(
            "apps", "v1", "daemonsets", "DaemonSet", DaemonSetStrategy(), short="ds", categories=("all",),
            subresources=("status",),
        ),
        row(
            "apps", "v1", "deployments", "Deployment", DeploymentStrategy(), short="deploy", categories=("all",),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS,
        ),
        row(
            "apps", "v1", "replicasets", "ReplicaSet", ReplicaSetStrategy(), short="rs", categories=("all",),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS, fields=(label("status.replicas", "0"),),
        ),
    ]  # fmt: skip
