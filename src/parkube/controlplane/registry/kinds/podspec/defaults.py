"""Defaults of a pod spec, as the API reference documents them: tables, and the few that depend on other fields."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.kinds.base import child, fill
from parkube.kubeapi import quantities
from parkube.kubeapi.errors import Obj

SPEC: Obj = {
    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30, "securityContext": {},
}  # fmt: skip
CONTAINER: Obj = {
    "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
}  # fmt: skip
PORT: Obj = {"protocol": "TCP"}
PROBE: Obj = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
HTTP_GET: Obj = {"path": "/", "scheme": "HTTP"}
GRPC: Obj = {"service": ""}
FIELD_REF: Obj = {"apiVersion": "v1"}
FILE_MODE: Obj = {"defaultMode": 420}  # 0644
TOKEN: Obj = {"expirationSeconds": 3600}
HOST_PATH: Obj = {"type": ""}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")
POD: Obj = {"enableServiceLinks": True}


def default_pod(obj: Obj) -> None:
    """Defaults of a Pod: its spec's, and those that only a pod has, not a template."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    default_spec(spec)
    fill(spec, POD)
    for container in _containers(spec):
        resources = container["resources"]
        limits = resources.get("limits")
        if limits:
            requests = resources.get("requests")
            if requests is None:
                requests = resources["requests"] = {}
            fill(requests, limits)
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec["serviceAccountName"]


def default_template(template: Any) -> None:
    """Defaults of a pod template."""
    if isinstance(template, dict):
        if isinstance(template.get("spec"), dict):
            default_spec(template["spec"])
        spec = template.get("spec") or {}
        if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
            spec["serviceAccount"] = spec["serviceAccountName"]


def default_spec(spec: Obj) -> None:
    """Defaults of a pod spec, wherever it is."""
    fill(spec, SPEC)
    host = bool(spec.get("hostNetwork"))
    for container in _containers(spec):
        _container(container, host)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def _containers(spec: Obj) -> list[Obj]:
    initial = spec.get("initContainers")
    containers: list[Obj] = spec.get("containers") or []
    return [*initial, *containers] if initial else containers


def _container(container: Obj, host_network: bool) -> None:
    fill(container, CONTAINER)
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    for port in container.get("ports") or ():
        fill(port, PORT)
        if host_network and not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            for key, value in PROBE.items():
                probe[key] = probe.get(key) or value
            _handler(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for hook in lifecycle.values():
            if isinstance(hook, dict):
                _handler(hook)
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source and source.get("fieldRef") is not None:
            fill(source["fieldRef"], FIELD_REF)


def _handler(handler: Obj) -> None:
    if handler.get("httpGet") is not None:
        fill(handler["httpGet"], HTTP_GET)
    if handler.get("grpc") is not None:
        fill(handler["grpc"], GRPC)


def pull_policy(image: str) -> str:
    """`Always` for `:latest` or no tag at all, else `IfNotPresent`."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _volume(volume: Obj) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for kind in _WITH_MODE:
        source = volume.get(kind)
        if source is not None:
            fill(source, FILE_MODE)
            if kind == "downwardAPI":
                _field_refs(source)
            elif kind == "projected":
                for part in source.get("sources") or ():
                    _projection(part)
    if volume.get("hostPath") is not None:
        fill(volume["hostPath"], HOST_PATH)
    if volume.get("image") is not None:
        fill(volume["image"], {"pullPolicy": pull_policy(volume["image"].get("reference") or "")})
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        fill(child(template, "spec"), {"volumeMode": "Filesystem"})


def _projection(part: Obj) -> None:
    if part.get("serviceAccountToken") is not None:
        fill(part["serviceAccountToken"], TOKEN)
    if part.get("downwardAPI") is not None:
        _field_refs(part["downwardAPI"])


def _field_refs(source: Obj) -> None:
    for item in source.get("items") or ():
        if item.get("fieldRef") is not None:
            fill(item["fieldRef"], FIELD_REF)


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by what the pod as a whole asks for, or else its containers."""
    guaranteed, any_given = True, False
    for container in [spec] if spec.get("resources") else _containers(spec):
        resources = container.get("resources") or {}
        limits, requests = _counted(resources.get("limits")), _counted(resources.get("requests"))
        any_given = any_given or bool(limits or requests)
        if set(limits) != {"cpu", "memory"} or any(requests.get(k, limits[k]) != limits[k] for k in limits):
            guaranteed = False
    if not any_given:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _counted(amounts: Obj | None) -> Obj:
    """CPU and memory that are not zero."""
    if not amounts:
        return {}
    found = {name: _number(amounts[name]) for name in ("cpu", "memory") if name in amounts}
    return {name: value for name, value in found.items() if value}


def _number(amount: Any) -> Any:
    try:
        return quantities.parse(amount)
    except ValueError:
        return 0
