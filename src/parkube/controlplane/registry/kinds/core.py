"""Namespace, ConfigMap, Secret, ServiceAccount: rows and rules. Nodes, pods and services have modules of their own."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column, count
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource


class NamespaceStrategy(KindStrategy):
    """A namespace is born Active and carries the finalizer of the namespace controller."""


class ConfigMapStrategy(PlainStrategy):
    """Keys are file names; an immutable one stays."""


class SecretStrategy(PlainStrategy):
    """`stringData` is written into `data`; the type stays."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "namespaces", "Namespace", NamespaceStrategy(), namespaced=False, short="ns",
            subresources=("status", "finalize"), fields=(label("status.phase"),),
            columns=(NAME, column("Status", at("status", "phase")), AGE),
        ),
        row(
            "", "v1", "configmaps", "ConfigMap", ConfigMapStrategy(), short="cm",
            columns=(NAME, column("Data", count("data"), "integer"), AGE),
        ),
        row(
            "", "v1", "secrets", "Secret", SecretStrategy(), fields=(label("type"),),
            columns=(NAME, column("Type", at("type")), column("Data", count("data"), "integer"), AGE),
        ),
        row(
            "", "v1", "serviceaccounts", "ServiceAccount", PlainStrategy(), short="sa", subresources=("token",),
            columns=(NAME, column("Secrets", count("secrets"), "integer"), AGE),
        ),
    ]  # fmt: skip
