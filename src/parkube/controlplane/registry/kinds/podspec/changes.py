"""What may change in a running pod through its subresources `ephemeralcontainers` and `resize`: each takes its own part
of what comes in, and leaves the rest as it was.

Source: Kubernetes documentation, "Ephemeral Containers", "Resize CPU and Memory Resources assigned to Containers".
"""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import fill
from parkube.controlplane.registry.kinds.podspec.containers import container_faults
from parkube.controlplane.registry.kinds.podspec.defaults import CONTAINER, pull_policy, qos_class
from parkube.controlplane.registry.kinds.podspec.rules import spec_faults
from parkube.kubeapi.errors import Cause, Obj

SUBRESOURCES = ("ephemeralcontainers", "resize")
_ALLOWED = {
    "name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
    "tty", "targetContainerName", "resources", "resizePolicy",
}  # fmt: skip
_RESIZED = ("resources", "resizePolicy")
_AMOUNTS = ("cpu", "memory")


def take(new: Obj, old: Obj, subresource: str) -> Obj:
    """The spec after the change: the old one with the part that the subresource may write."""
    spec, wanted = dict(old.get("spec") or {}), new.get("spec") or {}
    if subresource == "ephemeralcontainers":
        found = wanted.get("ephemeralContainers") or []
        for container in found:
            fill(container, CONTAINER)
            container["imagePullPolicy"] = container.get("imagePullPolicy") or pull_policy(container.get("image") or "")
        spec.pop("ephemeralContainers", None)
        return {**spec, "ephemeralContainers": found} if found else spec
    for kind in ("containers", "initContainers"):
        by_name = {container.get("name"): container for container in wanted.get(kind) or ()}
        if kind in spec:
            spec[kind] = [_resized(container, by_name.get(container.get("name"))) for container in spec[kind]]
    return spec


def _resized(container: Obj, wanted: Obj | None) -> Obj:
    if wanted is None:
        return container
    return {**container, **{key: wanted[key] for key in _RESIZED if key in wanted}}


def faults_of(new: Obj, old: Obj, subresource: str) -> list[Cause]:
    """Every fault of such a change."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if subresource == "ephemeralcontainers":
        return ephemeral_faults(spec, "spec.ephemeralContainers") + _kept(spec, before)
    found = spec_faults(spec, "spec")
    for kind in ("containers", "initContainers"):
        pairs = zip(spec.get(kind) or (), before.get(kind) or (), strict=False)
        for at, (container, was) in enumerate(pairs):
            found += _resize_faults(container, was, f"spec.{kind}[{at}]")
    if not found and qos_class(spec) != qos_class(before):
        words = "Pod QOS Class may not change as a result of resizing"
        found.append(faults.invalid("spec", qos_class(spec), words))
    return found


def ephemeral_faults(spec: Obj, path: str) -> list[Cause]:
    """Faults of a pod's ephemeral containers by themselves."""
    found: list[Cause] = []
    others = {c.get("name") for kind in ("containers", "initContainers") for c in spec.get(kind) or ()}
    names = set(others)
    volumes: dict[str, Obj] = {volume.get("name", ""): volume for volume in spec.get("volumes") or ()}
    for at, container in enumerate(spec.get("ephemeralContainers") or ()):
        here, target = f"{path}[{at}]", container.get("targetContainerName")
        found += container_faults(container, here, volumes, set(), initial=False)
        if container.get("name") in names:
            found.append(faults.duplicate(f"{here}.name", container.get("name")))
        names.add(container.get("name"))
        if target and target not in others:
            found.append(faults.not_found(f"{here}.targetContainerName", target))
        for key, value in container.items():
            if value and (key not in _ALLOWED or (key in _RESIZED and value != {})):
                found.append(faults.forbidden(f"{here}.{key}", "cannot be set for an Ephemeral Container"))
    return found


def _kept(spec: Obj, before: Obj) -> list[Cause]:
    """What was started once stays as it is."""
    now = {container.get("name"): container for container in spec.get("ephemeralContainers") or ()}
    found = []
    for container in before.get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in now:
            words = f'existing ephemeral containers "{name}" may not be removed'
        elif now[name] != container:
            words = f'existing ephemeral containers "{name}" may not be changed'
        else:
            continue
        found.append(faults.forbidden("spec.ephemeralContainers", words))
    return found


def _resize_faults(container: Obj, before: Obj, path: str) -> list[Cause]:
    found = []
    for kind in ("limits", "requests"):
        now: dict[str, Any] = (container.get("resources") or {}).get(kind) or {}
        was: dict[str, Any] = (before.get("resources") or {}).get(kind) or {}
        if {k: v for k, v in now.items() if k not in _AMOUNTS} != {k: v for k, v in was.items() if k not in _AMOUNTS}:
            words = "only cpu and memory resources are mutable"
            found.append(faults.forbidden(f"{path}.resources.{kind}", words))
        if any(name in was and name not in now for name in _AMOUNTS):
            found.append(faults.forbidden(f"{path}.resources.{kind}", f"resource {kind} cannot be removed"))
    return found
