"""Rules of one container: image, ports, environment, mounts, resources, probes, hooks."""

from __future__ import annotations

import re
from typing import Any

from parkube.controlplane.registry.kinds import checks, faults
from parkube.kubeapi import quantities
from parkube.kubeapi.errors import Cause, Obj

_PROTOCOLS = frozenset(("TCP", "UDP", "SCTP"))
_PULL = frozenset(("Always", "IfNotPresent", "Never"))
_MESSAGE = frozenset(("File", "FallbackToLogsOnError"))
_SCHEMES = frozenset(("HTTP", "HTTPS"))
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_ENV_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_FIELDS = re.compile(
    r"metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']+'\])\Z|"
    r"spec\.(nodeName|serviceAccountName)\Z|status\.(hostIPs?|podIPs?)\Z"
)

HostPorts = set[tuple[str, str, int]]


def container_faults(
    container: Obj, path: str, volumes: dict[str, Obj], host_ports: HostPorts, *, initial: bool
) -> list[Cause]:
    """Faults of the container at `path`; `volumes` are the pod's by name, `host_ports` those taken so far."""
    found: list[Cause] = []
    if "name" in container:
        found += checks.name(container["name"], f"{path}.name")
    image = container.get("image")
    if not image:
        found.append(faults.required(f"{path}.image"))
    elif image != image.strip():
        found.append(faults.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    found += checks.one_of(container.get("imagePullPolicy"), f"{path}.imagePullPolicy", _PULL)
    found += checks.one_of(container.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy", _MESSAGE)
    if container.get("ports"):
        found += _ports(container["ports"], f"{path}.ports", host_ports)
    if container.get("env"):
        found += _env(container["env"], f"{path}.env")
    if container.get("envFrom"):
        found += _env_from(container["envFrom"], f"{path}.envFrom")
    if container.get("volumeMounts"):
        found += _mounts(container["volumeMounts"], f"{path}.volumeMounts", volumes)
        privileged = (container.get("securityContext") or {}).get("privileged")
        for at, mount in enumerate(container["volumeMounts"]):
            if mount.get("mountPropagation") == "Bidirectional" and not privileged:
                words = "Bidirectional mount propagation is available only to privileged containers"
                found.append(faults.forbidden(f"{path}.volumeMounts[{at}].mountPropagation", words))
    if container.get("volumeDevices"):
        mounts = container.get("volumeMounts") or []
        found += _devices(container["volumeDevices"], f"{path}.volumeDevices", volumes, mounts)
    if container.get("resources"):
        found += resource_faults(container["resources"], f"{path}.resources")
    if container.get("securityContext"):
        found += _security(container["securityContext"], f"{path}.securityContext")
    found += _probes_and_hooks(container, path, initial)
    return found


def _ports(ports: list[Obj], path: str, host_ports: HostPorts) -> list[Cause]:
    found: list[Cause] = []
    names: set[str] = set()
    for at, port in enumerate(ports):
        here = f"{path}[{at}]"
        name = port.get("name")
        if name:
            found += checks.port_name(name, f"{here}.name")
            if name in names:
                found.append(faults.duplicate(f"{here}.name", name))
            names.add(name)
        if "containerPort" in port:
            found += checks.port_number(port["containerPort"], f"{here}.containerPort")
        found += checks.one_of(port.get("protocol"), f"{here}.protocol", _PROTOCOLS)
        number = port.get("hostPort")
        if number:
            found += checks.port_number(number, f"{here}.hostPort")
            taken = (port.get("protocol") or "TCP", port.get("hostIP") or "", number)
            if taken in host_ports:
                found.append(faults.duplicate(f"{here}.hostPort", f"{taken[0]}/{taken[1]}/{number}"))
            host_ports.add(taken)
    return found


def _env(variables: list[Obj], path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, variable in enumerate(variables):
        here = f"{path}[{at}]"
        name = variable.get("name")
        if name is not None and not name:
            found.append(faults.required(f"{here}.name"))
        elif name and not _ENV_NAME.fullmatch(name):
            found.append(faults.invalid(f"{here}.name", name, _ENV_RULE))
        source = variable.get("valueFrom")
        if source is not None:
            found += _env_source(source, f"{here}.valueFrom", variable.get("value") or "")
    return found


def _env_source(source: Obj, path: str, value: str) -> list[Cause]:
    given = [kind for kind in _ENV_SOURCES if source.get(kind) is not None]
    if not given:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        return [faults.invalid(path, "", words)]
    found = []
    if value:
        found.append(faults.invalid(path, "", "may not be specified when `value` is not empty"))
    if len(given) > 1:
        found.append(faults.invalid(path, "", "may not have more than one field specified at a time"))
    field = source.get("fieldRef")
    if field is not None:
        field_path = field.get("fieldPath") or ""
        if not field_path:
            found.append(faults.required(f"{path}.fieldRef.fieldPath"))
        elif not _FIELDS.match(field_path):
            found.append(faults.invalid(f"{path}.fieldRef.fieldPath", field_path, "error converting fieldPath: "
                                        f"field label not supported: {field_path}"))  # fmt: skip
    for kind in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(kind)
        if reference is None:
            continue
        if not reference.get("name"):
            found.append(faults.required(f"{path}.{kind}.name"))
        if reference.get("key"):
            found += checks.config_key(reference["key"], f"{path}.{kind}.key")
    return found


def _env_from(sources: list[Obj], path: str) -> list[Cause]:
    found = []
    for at, source in enumerate(sources):
        here = f"{path}[{at}]"
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        if not given:
            found.append(faults.invalid(here, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            found.append(faults.invalid(here, "", "may not have more than one field specified at a time"))
        for kind in given:
            if not source[kind].get("name"):
                found.append(faults.required(f"{here}.{kind}.name"))
    return found


def _mounts(mounts: list[Obj], path: str, volumes: dict[str, Obj]) -> list[Cause]:
    found: list[Cause] = []
    places: set[str] = set()
    for at, mount in enumerate(mounts):
        here = f"{path}[{at}]"
        if "name" in mount and mount["name"] not in volumes:
            found.append(faults.not_found(f"{here}.name", mount["name"]))
        place = mount.get("mountPath")
        if place is not None and not place:
            found.append(faults.required(f"{here}.mountPath"))
        elif place in places:
            found.append(faults.invalid(f"{here}.mountPath", place, "must be unique"))
        places.add(place or "")
        if mount.get("subPath"):
            found += checks.relative_path(mount["subPath"], f"{here}.subPath")
            if mount.get("subPathExpr"):
                found.append(faults.invalid(f"{here}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"))  # noqa: E501  # fmt: skip
        found += _mount_modes(mount, here)
    return found


def _mount_modes(mount: Obj, path: str) -> list[Cause]:
    """How mounts below it are seen, and whether they are read-only too."""
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    found: list[Cause] = []
    here = f"{path}.recursiveReadOnly"
    if propagation is not None:
        known = ("Bidirectional", "HostToContainer", "None")
        found += checks.one_of(propagation, f"{path}.mountPropagation", known)
    if recursive is not None:
        found += checks.one_of(recursive, here, ("Disabled", "Enabled", "IfPossible"))
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            found.append(faults.forbidden(here, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            words = "may only be specified when mountPropagation is None or not specified"
            found.append(faults.forbidden(here, words))
    return found


def _devices(devices: list[Obj], path: str, volumes: dict[str, Obj], mounts: list[Obj]) -> list[Cause]:
    found: list[Cause] = []
    mounted, places = {m.get("name") for m in mounts}, {m.get("mountPath") for m in mounts}
    for at, device in enumerate(devices):
        here, name, place = f"{path}[{at}]", device.get("name"), device.get("devicePath")
        if name not in volumes:
            found.append(faults.not_found(f"{here}.name", name))
        elif not {"persistentVolumeClaim", "ephemeral"} & volumes[name].keys():
            words = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.append(faults.invalid(f"{here}.name", name, words))
        if not place:
            found.append(faults.required(f"{here}.devicePath"))
        if name in mounted:
            found.append(faults.invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if place in places:
            words = "must not already exist as a path in volumeMounts"
            found.append(faults.invalid(f"{here}.devicePath", place, words))
    return found


def resource_faults(resources: Obj, path: str) -> list[Cause]:
    """Amounts are not negative; a request is within its limit."""
    found: list[Cause] = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if str(amount).startswith("-"):
                found.append(faults.invalid(f"{path}.{kind}[{name}]", amount, checks.NOT_NEGATIVE))
            if "/" not in name and name not in ("cpu", "memory", "ephemeral-storage") and not name.startswith("hugepages-"):  # noqa: E501  # fmt: skip
                found.append(faults.invalid(f"{path}.{kind}[{name}]", name, "must be a standard resource for containers"))  # noqa: E501  # fmt: skip
    for name, request in requests.items():
        limit = limits.get(name)
        if limit is None or limit == request:
            continue
        if _more(request, limit):
            words = f"must be less than or equal to {name} limit of {limit}"
            found.append(faults.invalid(f"{path}.requests", request, words))
    return found


def _more(request: Any, limit: Any) -> bool:
    try:
        return quantities.parse(request) > quantities.parse(limit)
    except ValueError:
        return False


def _security(context: Obj, path: str) -> list[Cause]:
    found = []
    for key in ("runAsUser", "runAsGroup"):
        value = context.get(key)
        if value is not None and not 0 <= value < 1 << 31:
            found.append(faults.invalid(f"{path}.{key}", value, "must be between 0 and 2147483647, inclusive"))
    if context.get("allowPrivilegeEscalation") is False:
        words = "cannot set `allowPrivilegeEscalation` to false and `{}`"
        if context.get("privileged"):
            found.append(faults.invalid(path, context, words.format("privileged") + " to true"))
        added = (context.get("capabilities") or {}).get("add") or ()
        if "CAP_SYS_ADMIN" in added or "SYS_ADMIN" in added:
            found.append(faults.invalid(path, context, words.format("capabilities.Add") + " CAP_SYS_ADMIN"))
    return found


def _probes_and_hooks(container: Obj, path: str, initial: bool) -> list[Cause]:
    found: list[Cause] = []
    sidecar = container.get("restartPolicy") == "Always"
    for name in _PROBES:
        probe = container.get(name)
        if probe is None:
            continue
        here = f"{path}.{name}"
        if initial and not sidecar:
            found.append(faults.forbidden(here, "may not be set for init containers without restartPolicy=Always"))
            continue
        found += _handler(probe, here, _HANDLERS)
        found += checks.not_negative(
            probe,
            here,
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        )
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            found.append(faults.invalid(f"{here}.successThreshold", probe["successThreshold"], "must be 1"))
    for hook, handler in (container.get("lifecycle") or {}).items():
        if isinstance(handler, dict):
            found += _handler(handler, f"{path}.lifecycle.{hook}", _HOOK_HANDLERS)
    return found


def _handler(handler: Obj, path: str, kinds: tuple[str, ...]) -> list[Cause]:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        return [faults.required(path, "must specify a handler type")]
    found = [faults.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]
    kind = given[0]
    action, here = handler[kind], f"{path}.{kind}"
    if kind == "exec" and not action.get("command"):
        found.append(faults.required(f"{here}.command"))
    elif kind == "httpGet":
        if not action.get("path"):
            found.append(faults.required(f"{here}.path"))
        found += checks.one_of(action.get("scheme"), f"{here}.scheme", _SCHEMES)
    if kind in ("httpGet", "tcpSocket", "grpc") and "port" in action:
        found += checks.port_or_name(action["port"], f"{here}.port")
    return found
