"""The built-in rows of the catalogue, a module a group or big kind: names, strategies, columns. No handlers."""

from __future__ import annotations

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.kinds import (
    access,
    apiregistration,
    apps,
    autoscaling,
    certificates,
    coordination,
    core,
    discovery,
    events,
    extensions,
    nodes,
    pods,
    policy,
    reviews,
    services,
    templates,
)
from parkube.controlplane.registry.kinds.apiextensions import crd_rows
from parkube.controlplane.registry.resource import Resource, Strategy


def builtin_rows(crd_strategy: Strategy | None = None) -> list[Resource]:
    """Every built-in row, in the order in which discovery lists the groups (`extensions` after `apps`)."""
    return [
        *core.rows(), *nodes.rows(), *pods.rows(), *services.rows(), *templates.rows(), *events.core_rows(),
        *apps.rows(), *events.rows(), *reviews.rows(), *certificates.rows(), *coordination.rows(), *discovery.rows(),
        *policy.rows(), *access.rows(), *autoscaling.rows(), *apiregistration.rows(), *crd_rows(crd_strategy),
        *extensions.rows(),
    ]  # fmt: skip


def builtin_catalogue(crd_strategy: Strategy | None = None) -> Catalogue:
    """A catalogue of the built-in rows. `crd_strategy` rules over CustomResourceDefinition; None: a bare one."""
    return Catalogue(builtin_rows(crd_strategy))
