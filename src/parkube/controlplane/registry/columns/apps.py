"""`kubectl get` of Deployments, ReplicaSets, DaemonSets and ControllerRevisions."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column, joined, selector_text
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def of_template(*path: str, wide: bool = False) -> tuple[Column, ...]:
    """Names and images of the containers of the pod template at `path`."""
    containers = at(*path, "spec", "containers", default=())
    return (
        column("Containers", lambda obj: ",".join(str(c.get("name")) for c in containers(obj)), wide=wide),
        column("Images", lambda obj: ",".join(str(c.get("image")) for c in containers(obj)), wide=wide),
    )


def _containers(obj: Obj) -> list[Obj]:
    template = (obj.get("spec") or {}).get("template") or {}
    containers: list[Obj] = (template.get("spec") or {}).get("containers") or []
    return containers


def _names(obj: Obj) -> str:
    return ",".join(str(container.get("name")) for container in _containers(obj))


def _images(obj: Obj) -> str:
    return ",".join(str(container.get("image")) for container in _containers(obj))


def _selector(obj: Obj) -> str:
    return selector_text((obj.get("spec") or {}).get("selector"))


def _number(*path: str) -> Callable[[Obj], int]:
    field = at(*path, default=0)
    return lambda obj: int(field(obj))


def _ready(obj: Obj) -> str:
    return f"{_number('status', 'readyReplicas')(obj)}/{_number('spec', 'replicas')(obj)}"


def _controller(obj: Obj) -> str:
    for owner in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            kind = str(owner.get("kind", "")).lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return "<none>"


_WORKLOAD: tuple[Column, ...] = (
    column("Containers", _names, wide=True),
    column("Images", _images, wide=True),
    column("Selector", _selector, wide=True),
)
DEPLOYMENT: tuple[Column, ...] = (
    NAME,
    column("Ready", _ready),
    column("Up-to-date", _number("status", "updatedReplicas"), "integer"),
    column("Available", _number("status", "availableReplicas"), "integer"),
    AGE,
    *_WORKLOAD,
)
REPLICA_SET: tuple[Column, ...] = (
    NAME,
    column("Desired", _number("spec", "replicas"), "integer"),
    column("Current", _number("status", "replicas"), "integer"),
    column("Ready", _number("status", "readyReplicas"), "integer"),
    AGE,
    *_WORKLOAD,
)
DAEMON_SET: tuple[Column, ...] = (
    NAME,
    column("Desired", _number("status", "desiredNumberScheduled"), "integer"),
    column("Current", _number("status", "currentNumberScheduled"), "integer"),
    column("Ready", _number("status", "numberReady"), "integer"),
    column("Up-to-date", _number("status", "updatedNumberScheduled"), "integer"),
    column("Available", _number("status", "numberAvailable"), "integer"),
    column(
        "Node Selector",
        lambda obj: joined(at("spec", "template", "spec", "nodeSelector")(obj) or None),
    ),
    AGE,
    *_WORKLOAD,
)
CONTROLLER_REVISION: tuple[Column, ...] = (
    NAME,
    column("Controller", _controller),
    column("Revision", _number("revision"), "integer"),
    AGE,
)
REPLICATION_CONTROLLER: tuple[Column, ...] = (
    *REPLICA_SET[:5],
    *of_template("spec", "template", wide=True),
    column("Selector", lambda obj: joined(at("spec", "selector")(obj) or None), wide=True),
)
STATEFUL_SET: tuple[Column, ...] = (NAME, column("Ready", _ready), AGE, *of_template("spec", "template", wide=True))
