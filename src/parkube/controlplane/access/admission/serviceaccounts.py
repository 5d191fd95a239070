"""ServiceAccount: every pod has an account, and its token, CA and namespace where client libraries look for them.

Source: Kubernetes documentation, "Managing Service Accounts", ServiceAccount admission controller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from parkube.controlplane.access.admission.plugin import Plugin, Read, name_of, refused
from parkube.controlplane.access.graph import MIRROR
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PODS, SERVICEACCOUNTS
from parkube.kubeapi.errors import NotFound, Obj

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607  # an hour and a bit: tells these tokens from those that somebody asked for
_TRIES, _PAUSE = 10, 0.1  # a namespace's default account comes a moment after the namespace
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

Sleep = Callable[[float], Awaitable[None]]


class ServiceAccounts(Plugin):
    """Looks the account up and mounts its token."""

    kinds, operations = frozenset({PODS}), frozenset({"CREATE"})

    def __init__(self, read: Read, random: Random, sleep: Sleep) -> None:
        self._read, self._random, self._sleep = read, random, sleep

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes the pod's account, pull secrets, volumes and mounts. Raises Forbidden if there is no such account."""
        if subresource or new is None:
            return
        if MIRROR in ((new.get("metadata") or {}).get("annotations") or {}):
            return
        spec = new.setdefault("spec", {})
        wanted = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = wanted
        try:
            account = await self._lookup(namespace, wanted)
        except NotFound as error:
            why = f'error looking up service account {namespace}/{wanted}: serviceaccount "{wanted}" not found'
            raise refused(resource, name_of(name, new), why) from error
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        if _automounts(spec, account):
            self._mount(spec)

    async def _lookup(self, namespace: str, name: str) -> Obj:
        for _ in range(_TRIES if name == "default" else 1):
            try:
                return await self._read(SERVICEACCOUNTS, namespace, name)
            except NotFound:
                if name == "default":
                    await self._sleep(_PAUSE)
        return await self._read(SERVICEACCOUNTS, namespace, name)

    def _mount(self, spec: Obj) -> None:
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        without = [c for c in containers if not any(m.get("mountPath") == MOUNT_PATH for m in c.get("volumeMounts") or ())]  # noqa: E501  # fmt: skip
        if not without:
            return
        volumes = spec.get("volumes") or []
        volume = next((v["name"] for v in volumes if str(v.get("name", "")).startswith("kube-api-access-")), None)
        if volume is None:
            volume = "kube-api-access-" + "".join(self._random.choices(_ALPHABET, k=5))
            spec["volumes"] = [*volumes, _token_volume(volume)]
        for container in without:
            mounts = container.get("volumeMounts") or []
            container["volumeMounts"] = [*mounts, {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}]


def _automounts(spec: Obj, account: Obj) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _token_volume(name: str) -> Obj:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    }
