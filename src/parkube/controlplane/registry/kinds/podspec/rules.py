"""Rules of a pod spec that its schema cannot say, every fault named with its path. Containers and volumes apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.podspec.containers import container_faults
from parkube.controlplane.registry.kinds.podspec.placement import placement_faults, toleration_faults
from parkube.controlplane.registry.kinds.podspec.volumes import volume_faults
from parkube.kubeapi.errors import Cause, Obj

_RESTART = frozenset(("Always", "OnFailure", "Never"))
_DNS = frozenset(("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"))


def template_faults(template: Obj, path: str, kind: str) -> list[Cause]:
    """Faults of a pod template of a workload that always restarts its pods."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    found = checks.labels(metadata.get("labels"), f"{path}.metadata.labels")
    found += spec_faults(spec, f"{path}.spec")
    if spec.get("restartPolicy", "Always") != "Always" and spec.get("restartPolicy") in _RESTART:
        found.append(faults.unsupported(f"{path}.spec.restartPolicy", spec["restartPolicy"], ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        words = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(faults.forbidden(f"{path}.spec.activeDeadlineSeconds", words))
    return found


def spec_faults(spec: Obj, path: str) -> list[Cause]:
    """Faults of a pod spec at `path`, after defaulting."""
    volumes: dict[str, Obj] = {}
    found = volume_faults(spec.get("volumes") or (), f"{path}.volumes", volumes)
    found += _containers(spec, path, volumes)
    found += checks.one_of(spec.get("restartPolicy"), f"{path}.restartPolicy", _RESTART)
    found += checks.one_of(spec.get("dnsPolicy"), f"{path}.dnsPolicy", _DNS)
    found += checks.not_negative(spec, path, "terminationGracePeriodSeconds")
    found += _small_things(spec, path)
    found += checks.labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    if spec.get("tolerations"):
        found += toleration_faults(spec["tolerations"], f"{path}.tolerations")
    if spec.get("affinity") or spec.get("topologySpreadConstraints"):
        found += placement_faults(spec, path)
    return found


def _containers(spec: Obj, path: str, volumes: dict[str, Obj]) -> list[Cause]:
    found: list[Cause] = []
    if not spec.get("containers"):
        found.append(faults.required(f"{path}.containers"))
    names: set[str] = set()
    host_ports: set[tuple[str, str, int]] = set()
    host = bool(spec.get("hostNetwork"))
    for kind in ("initContainers", "containers"):
        used: set[tuple[str, str, int]] = set() if kind == "initContainers" else host_ports
        for at, container in enumerate(spec.get(kind) or ()):
            here = f"{path}.{kind}[{at}]"
            if container.get("name") in names:
                found.append(faults.duplicate(f"{here}.name", container["name"]))
            names.add(container.get("name") or "")
            found += container_faults(container, here, volumes, used, initial=kind == "initContainers")
            if host:
                found += _host_network_ports(container, here)
    return found


def _host_network_ports(container: Obj, path: str) -> list[Cause]:
    words = "must match `hostPort` when `hostNetwork` is true"
    return [
        faults.invalid(f"{path}.ports[{at}].containerPort", port.get("containerPort"), words)
        for at, port in enumerate(container.get("ports") or ())
        if port.get("hostPort") != port.get("containerPort")
    ]


_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"


def _sysctls(sysctls: Sequence[Obj], path: str) -> list[Cause]:
    found: list[Cause] = []
    names = [str(entry.get("name") or "") for entry in sysctls]
    for at, name in enumerate(names):
        if not name:
            found.append(faults.required(f"{path}[{at}].name"))
        elif len(name) > 253 or not re.fullmatch(_SYSCTL, name):
            words = f"must have at most 253 characters and match regex ^{_SYSCTL}$"
            found.append(faults.invalid(f"{path}[{at}].name", name, words))
        elif name in names[:at]:
            found.append(faults.duplicate(f"{path}[{at}].name", name))
    return found


def _small_things(spec: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 0 < deadline < 1 << 31:
        found.append(
            faults.invalid(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
        )
    for key, rule in (
        ("nodeName", "subdomain"), ("serviceAccountName", "subdomain"), ("hostname", "label"), ("subdomain", "label"),
    ):  # fmt: skip
        if spec.get(key):
            found += checks.name(spec[key], f"{path}.{key}", rule)
    found += _sysctls((spec.get("securityContext") or {}).get("sysctls") or (), f"{path}.securityContext.sysctls")
    for at, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            found.append(faults.required(f"{path}.imagePullSecrets[{at}].name"))
    for at, alias in enumerate(spec.get("hostAliases") or ()):
        found += checks.address(alias.get("ip"), f"{path}.hostAliases[{at}].ip")
    context: Obj = spec.get("securityContext") or {}
    found += _ids(context, f"{path}.securityContext", "runAsUser", "runAsGroup", "fsGroup")
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        found.append(faults.required(f"{path}.dnsConfig.nameservers", words))
    return found


def _ids(context: Obj, path: str, *keys: str) -> list[Cause]:
    found = []
    for key in keys:
        value: Any = context.get(key)
        if value is not None and not 0 <= value < 1 << 31:
            found.append(faults.invalid(f"{path}.{key}", value, "must be between 0 and 2147483647, inclusive"))
    return found
