"""A container's environment: from the pod, ConfigMaps, Secrets and Services. Pure: what it refers to is handed in.

Source: API reference, EnvVar ($(NAME) expansion, fieldRef, resourceFieldRef) and "Service environment variables".
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.resources import amount

_KEYED = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]")


class ConfigFault(Exception):
    """The container cannot be configured: kubelet's CreateContainerConfigError, with its words."""


Lookup = Callable[[str, str], Obj | None]  # ("ConfigMap" | "Secret", name) -> object


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known; `$$` stands for one `$`."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^()]*)\)", one, text)


def field(pod: Obj, path: str, facts: Mapping[str, str]) -> str:
    """The value of a fieldRef; `facts` holds what the status will say (`status.podIP`, `status.hostIP`)."""
    keyed = _KEYED.fullmatch(path)
    if keyed:
        values = pod["metadata"].get(keyed[1].removeprefix("metadata.")) or {}
        return str(values.get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = pod["metadata"].get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(values.items()))
    if path in facts:
        return facts[path]
    found: object = pod
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, dict) else ""
    if path == "spec.serviceAccountName" and not found:
        return "default"
    return str(found)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource(pod: Obj, ref: Obj, own_container: str, allocatable: Mapping[str, str]) -> str:
    """The value of a resourceFieldRef; limits not set are the node's allocatable."""
    name = ref.get("containerName") or own_container
    kind, _, what = str(ref.get("resource", "")).partition(".")
    spec = pod["spec"]
    container = next(
        (c for c in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())] if c["name"] == name), None
    )
    if container is None:
        raise ConfigFault(f"container {name} not found")
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(what)
    if value is None and kind == "limits":
        value = allocatable.get(what)
    divisor = amount(ref.get("divisor") or "1") or amount("1")
    return str(math.ceil(amount(value) / divisor))


def service_variables(services: Iterable[tuple[str, str, list[tuple[str, int, str]]]]) -> dict[str, str]:
    """`KUBERNETES_SERVICE_HOST` and its like, for (name, cluster IP, [(port name, port, protocol)])."""
    result: dict[str, str] = {}
    for name, ip, ports in services:
        prefix = name.upper().replace("-", "_")
        result[f"{prefix}_SERVICE_HOST"] = ip
        result[f"{prefix}_SERVICE_PORT"] = str(ports[0][1])
        for port_name, port, _ in ports:
            if port_name:
                result[f"{prefix}_SERVICE_PORT_{port_name.upper().replace('-', '_')}"] = str(port)
        for index, (_, port, protocol) in enumerate(ports):
            url = f"{protocol.lower()}://{ip}:{port}"
            if index == 0:
                result[f"{prefix}_PORT"] = url
            each = f"{prefix}_PORT_{port}_{protocol.upper()}"
            result[each] = url
            result[each + "_PROTO"] = protocol.lower()
            result[each + "_PORT"] = str(port)
            result[each + "_ADDR"] = ip
    return result


def _data(obj: Obj, kind: str) -> dict[str, str]:
    if kind == "ConfigMap":
        return dict(obj.get("data") or {})
    return {key: b64decode(value).decode("utf-8", "surrogateescape") for key, value in (obj.get("data") or {}).items()}


def environment(
    pod: Obj,
    container: Obj,
    lookup: Lookup,
    services: Mapping[str, str],
    facts: Mapping[str, str],
    allocatable: Mapping[str, str],
) -> list[tuple[str, str]]:
    """All variables in order. Raises `ConfigFault`."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        _from_all(source, lookup, result)
    for entry in container.get("env") or ():
        name = entry["name"]
        origin = entry.get("valueFrom")
        if not origin:
            result[name] = expand(str(entry.get("value") or ""), {**services, **result})
        elif "fieldRef" in origin:
            result[name] = field(pod, origin["fieldRef"]["fieldPath"], facts)
        elif "resourceFieldRef" in origin:
            result[name] = resource(pod, origin["resourceFieldRef"], container["name"], allocatable)
        else:
            value = _from_key(pod, origin, lookup)
            if value is not None:
                result[name] = value
    return list({**services, **result}.items())


def _from_all(source: Obj, lookup: Lookup, result: dict[str, str]) -> None:
    for field_name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        ref = source.get(field_name)
        if not ref:
            continue
        found = lookup(kind, ref.get("name", ""))
        if found is None:
            if ref.get("optional"):
                continue
            raise ConfigFault(f'{kind.lower()} "{ref.get("name", "")}" not found')
        for key, value in _data(found, kind).items():
            result[source.get("prefix", "") + key] = value


def _from_key(pod: Obj, origin: Obj, lookup: Lookup) -> str | None:
    for field_name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        ref = origin.get(field_name)
        if not ref:
            continue
        found = lookup(kind, ref.get("name", ""))
        if found is None:
            if ref.get("optional"):
                return None
            raise ConfigFault(f'{kind.lower()} "{ref.get("name", "")}" not found')
        data = _data(found, kind)
        if ref["key"] not in data:
            if ref.get("optional"):
                return None
            where = f"{pod['metadata']['namespace']}/{ref.get('name', '')}"
            raise ConfigFault(f"couldn't find key {ref['key']} in {kind} {where}")
        return data[ref["key"]]
    return None
