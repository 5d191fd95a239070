"""The scale subresource: a Scale read from an object by the row's paths, and written back. Pure."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, NotFound, Obj, conflict, invalid
from parkube.kubeapi.selectors import LabelSelector


def _parts(path: str) -> list[str]:
    return [part for part in path.split(".") if part]


def _read(obj: Any, path: str) -> Any:
    for part in _parts(path):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def paths(row: Resource) -> tuple[str, str, str]:
    """The row's scale paths. Raises NotFound when it has none."""
    if row.scale_paths is None:
        raise NotFound("the server could not find the requested resource")
    return row.scale_paths


def scale_of(row: Resource, obj: Obj) -> Obj:
    """The Scale of `obj`: `autoscaling/v1`, or `extensions/v1beta1` for that group."""
    spec_path, status_path, selector_path = paths(row)
    metadata = obj.get("metadata") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": _read(obj, status_path) or 0}
    selector = _read(obj, selector_path) if selector_path else None
    old = row.gvr.group == "extensions"
    if selector:
        text = selector if isinstance(selector, str) else str(LabelSelector.from_object(_as_selector(selector)))
        status["targetSelector" if old else "selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "extensions/v1beta1" if old else "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": _read(obj, spec_path) or 0},
        "status": status,
    }


def _as_selector(selector: Obj) -> Obj:
    """A ReplicationController's selector is a plain map of labels."""
    return selector if {"matchLabels", "matchExpressions"} & selector.keys() else {"matchLabels": selector}


def apply_scale(row: Resource, obj: Obj, scale: Obj) -> Obj:
    """`obj` with the replicas that `scale` asks for; changed in place. Raises Conflict, Invalid."""
    metadata = obj["metadata"]
    asked = scale.get("metadata") or {}
    if asked.get("resourceVersion") and asked["resourceVersion"] != metadata.get("resourceVersion"):
        raise conflict(row.gvr.resource, row.gvr.group, metadata["name"])
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        words = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid("Scale", "autoscaling", metadata["name"], [Cause("FieldValueInvalid", words, "spec.replicas")])
    *parents, last = _parts(paths(row)[0])
    holder = obj
    for part in parents:
        holder = holder.setdefault(part, {})
    holder[last] = replicas
    return obj
