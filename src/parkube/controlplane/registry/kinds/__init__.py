"""The built-in rows of the catalogue, a module a group or big kind: names, strategies, columns. No handlers."""

from __future__ import annotations

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.kinds import (
    access,
    admission,
    apiregistration,
    apps,
    autoscaling,
    batch,
    certificates,
    classes,
    coordination,
    core,
    devices,
    discovery,
    events,
    extensions,
    flowcontrol,
    networking,
    nodes,
    pods,
    policy,
    quotas,
    replication,
    reviews,
    services,
    statefulsets,
    storage,
    templates,
    volumes,
)
from parkube.controlplane.registry.kinds.apiextensions import crd_rows
from parkube.controlplane.registry.resource import Resource, Strategy


def builtin_rows(crd_strategy: Strategy | None = None) -> list[Resource]:
    """Every built-in row, in the order in which discovery lists the groups (`extensions` after `apps`)."""
    return [
        *core.rows(), *nodes.rows(), *pods.rows(), *services.rows(), *volumes.rows(), *replication.rows(),
        *templates.rows(), *quotas.rows(), *events.core_rows(), *apps.rows(), *statefulsets.rows(), *events.rows(),
        *reviews.rows(), *autoscaling.rows(), *batch.rows(), *certificates.rows(), *networking.rows(), *policy.rows(),
        *access.rows(), *storage.rows(), *admission.rows(), *apiregistration.rows(), *crd_rows(crd_strategy),
        *classes.rows(), *coordination.rows(), *discovery.rows(), *devices.rows(), *flowcontrol.rows(),
        *extensions.rows(),
    ]  # fmt: skip


def builtin_catalogue(crd_strategy: Strategy | None = None) -> Catalogue:
    """A catalogue of the built-in rows. `crd_strategy` rules over CustomResourceDefinition; None: a bare one."""
    return Catalogue(builtin_rows(crd_strategy))
