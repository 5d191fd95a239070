"""What files a configMap, secret, downwardAPI or projected volume holds. Pure: objects and tokens are handed in."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.environment import Lookup, field, resource
from parkube.nodeagent.volumes.atomic import File

TokenOf = Callable[[str, int], str]  # (audience, expirationSeconds) -> the pod's service account token


class MountFault(Exception):
    """A volume cannot be made (yet); kubelet's words."""


def config_map_files(source: Obj, found: Obj | None, mode: int, name: str, namespace: str) -> dict[str, File]:
    """Files of a configMap source."""
    data: dict[str, bytes] = {}
    if found is not None:
        data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        data.update({key: b64decode(value) for key, value in (found.get("binaryData") or {}).items()})
    return _items(source, data, found is not None, mode, "configmap", name, namespace)


def secret_files(source: Obj, found: Obj | None, mode: int, name: str, namespace: str) -> dict[str, File]:
    """Files of a secret source."""
    data = {key: b64decode(value) for key, value in ((found or {}).get("data") or {}).items()}
    return _items(source, data, found is not None, mode, "secret", name, namespace)


def _items(
    source: Obj, data: dict[str, bytes], exists: bool, mode: int, kind: str, name: str, namespace: str
) -> dict[str, File]:
    if not exists and not source.get("optional"):
        raise MountFault(f'{kind} "{name}" not found')
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = File(data[item["key"]], int(item.get("mode") or mode))
        elif not source.get("optional"):
            raise MountFault(f"references non-existent {kind} key: {item['key']} in {namespace}/{name}")
    return files


def downward_files(
    source: Obj, pod: Obj, mode: int, facts: Mapping[str, str], allocatable: Mapping[str, str]
) -> dict[str, File]:
    """Files of a downwardAPI source."""
    files = {}
    for item in source.get("items") or ():
        if "fieldRef" in item:
            text = field(pod, item["fieldRef"]["fieldPath"], facts)
        else:
            text = resource(pod, item["resourceFieldRef"], "", allocatable)
        files[item["path"]] = File(text.encode(), int(item.get("mode") or mode))
    return files


def volume_files(
    volume: Obj, pod: Obj, lookup: Lookup, token: TokenOf, facts: Mapping[str, str], allocatable: Mapping[str, str]
) -> dict[str, File]:
    """All files of one volume. Raises `MountFault`."""
    namespace = pod["metadata"]["namespace"]
    if "configMap" in volume:
        source = volume["configMap"]
        name = source.get("name", "")
        return config_map_files(source, lookup("ConfigMap", name), _mode(source), name, namespace)
    if "secret" in volume:
        source = volume["secret"]
        name = source.get("secretName", "")
        return secret_files(source, lookup("Secret", name), _mode(source), name, namespace)
    if "downwardAPI" in volume:
        source = volume["downwardAPI"]
        return downward_files(source, pod, _mode(source), facts, allocatable)
    files: dict[str, File] = {}
    mode = _mode(volume["projected"])
    for source in volume["projected"].get("sources") or ():
        files.update(_projected(source, pod, mode, lookup, token, facts, allocatable))
    return files


def _projected(
    source: Obj, pod: Obj, mode: int, lookup: Lookup, token: TokenOf, facts: Mapping[str, str],
    allocatable: Mapping[str, str],
) -> dict[str, File]:  # fmt: skip
    namespace = pod["metadata"]["namespace"]
    if "configMap" in source:
        name = source["configMap"].get("name", "")
        return config_map_files(source["configMap"], lookup("ConfigMap", name), mode, name, namespace)
    if "secret" in source:
        name = source["secret"].get("name", "")
        return secret_files(source["secret"], lookup("Secret", name), mode, name, namespace)
    if "downwardAPI" in source:
        return downward_files(source["downwardAPI"], pod, mode, facts, allocatable)
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        text = token(wanted.get("audience") or "", int(wanted.get("expirationSeconds") or 3600))
        security = pod["spec"].get("securityContext") or {}
        group, user = security.get("fsGroup"), security.get("runAsUser")
        # Readable by the group that owns the pod's volumes, by its user, or else by whoever the image runs as.
        token_mode = 0o640 if group is not None else 0o600 if user is not None else 0o644
        return {wanted["path"]: File(text.encode(), token_mode, group, user if group is None else None)}
    return {}


def _mode(source: Obj) -> int:
    value = source.get("defaultMode")
    return 0o644 if value is None else int(value)
