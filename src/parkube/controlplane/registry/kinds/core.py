"""Namespace, ConfigMap, Secret, ServiceAccount: rows and rules. Nodes, pods and services have modules of their own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column, count
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy, child
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"
_MOST_BYTES = 1 << 20


class NamespaceStrategy(KindStrategy):
    """A namespace is born Active and carries the finalizer of the namespace controller.

    Active --DELETE--> Terminating --finalize, once it is empty--> gone
    """

    name_rule = "label"

    def default(self, obj: Obj) -> None:
        metadata = child(obj, "metadata")
        if metadata.get("name"):
            child(metadata, "labels")[NAME_LABEL] = metadata["name"]

    def prepare_create(self, obj: Obj) -> None:
        self.default(obj)
        finalizers = child(obj, "spec").setdefault("finalizers", [])
        if FINALIZER not in finalizers:
            finalizers.append(FINALIZER)
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        if subresource == "finalize":
            finalizers = (new.get("spec") or {}).get("finalizers") or []
            super().prepare_update(new, old, "status")
            new["spec"] = {**(old.get("spec") or {}), "finalizers": finalizers}
            new["status"] = old.get("status") or {}
            return
        super().prepare_update(new, old, subresource)
        new["spec"] = old.get("spec") or {}

    def linger(self, obj: Obj) -> bool:
        """Until the namespace controller has emptied it; marks it Terminating."""
        child(obj, "status")["phase"] = "Terminating"
        return bool((obj.get("spec") or {}).get("finalizers"))


def _frozen(new: Obj, old: Obj, fields: Iterable[str]) -> list[Cause]:
    """What an object marked immutable may not change."""
    if not old.get("immutable"):
        return []
    words = "field is immutable when `immutable` is set"
    found = [] if new.get("immutable") else [faults.forbidden("immutable", words)]
    changed = [key for key in fields if (new.get(key) or {}) != (old.get(key) or {})]
    return found + [faults.forbidden(key, words) for key in changed]


class ConfigMapStrategy(PlainStrategy):
    """Keys are file names; an immutable one stays."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        found: list[Cause] = []
        size = 0
        for field, entries in (("data", data), ("binaryData", binary)):
            for key, value in entries.items():
                found += checks.config_key(key, f"{field}[{key}]")
                size += len(value)
        for key in sorted(data.keys() & binary.keys()):
            found.append(faults.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        if size > _MOST_BYTES:
            found.append(faults.too_long("", _MOST_BYTES))
        return found + (_frozen(obj, old, ("data", "binaryData")) if old else [])


_NEEDED_KEYS = {  # what the data of a secret of some type must hold
    "kubernetes.io/dockercfg": (".dockercfg",), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",), "kubernetes.io/tls": ("tls.crt", "tls.key"),
}  # fmt: skip
_ACCOUNT = "kubernetes.io/service-account.name"


class SecretStrategy(PlainStrategy):
    """`stringData` is written into `data`; the type stays."""

    def default(self, obj: Obj) -> None:
        obj["type"] = obj.get("type") or "Opaque"
        plain = obj.pop("stringData", None)
        if plain:
            data = child(obj, "data")
            data.update({key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()})

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        data, kind = obj.get("data") or {}, obj.get("type")
        found: list[Cause] = []
        for key in data:
            found += checks.config_key(key, f"data[{key}]")
        if sum(_decoded_size(value) for value in data.values()) > _MOST_BYTES:
            found.append(faults.too_long("data", _MOST_BYTES))
        found += [faults.required(f"data[{key}]") for key in _NEEDED_KEYS.get(kind or "", ()) if key not in data]
        if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
            found += [faults.required("data[username]"), faults.required("data[password]")]
        if kind == "kubernetes.io/service-account-token":
            annotations = (obj.get("metadata") or {}).get("annotations") or {}
            if not annotations.get(_ACCOUNT):
                found.append(faults.required(f"metadata.annotations[{_ACCOUNT}]"))
        if old is not None:
            if kind != old.get("type"):
                found.append(faults.immutable("type", kind))
            found += _frozen(obj, old, ("data",))
        return found


def _decoded_size(value: object) -> int:
    try:
        return len(base64.b64decode(str(value)))
    except (binascii.Error, ValueError):
        return len(str(value))


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "namespaces", "Namespace", NamespaceStrategy(), namespaced=False, short="ns",
            verbs=("create", "delete", "get", "list", "patch", "update", "watch"),  # nobody empties a cluster at once
            subresources=("status", "finalize"), fields=(label("status.phase"),),
            columns=(NAME, column("Status", at("status", "phase")), AGE),
        ),
        row(
            "", "v1", "configmaps", "ConfigMap", ConfigMapStrategy(), short="cm",
            columns=(NAME, column("Data", _entries, "integer"), AGE),
        ),
        row(
            "", "v1", "secrets", "Secret", SecretStrategy(), fields=(label("type"),),
            columns=(NAME, column("Type", at("type")), column("Data", count("data"), "integer"), AGE),
        ),
        row(
            "", "v1", "serviceaccounts", "ServiceAccount", PlainStrategy(), short="sa", subresources=("token",),
            columns=(NAME, column("Secrets", count("secrets"), "integer"), AGE),
        ),
    ]  # fmt: skip


def _entries(obj: Obj) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
