"""What every namespace has from its start: service account `default`, and ConfigMap `kube-root-ca.crt` with the CA."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import NamespaceInfo
from parkube.kubeapi.client import CONFIGMAPS, GVR, NAMESPACES, SERVICEACCOUNTS
from parkube.kubeapi.errors import AlreadyExists, ApiError, Forbidden, NotFound, Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.objects import split_key

ROOT_CA = "kube-root-ca.crt"


def _data(configmap: Obj) -> str:
    return (configmap.get("data") or {}).get("ca.crt") or ""


class ServiceAccountController(Reconciler):
    """Puts the two into every namespace that is not being deleted, and back when someone takes them away."""

    name: ClassVar[str] = "serviceaccount"
    inputs: ClassVar[tuple[GVR, ...]] = (NAMESPACES, SERVICEACCOUNTS, CONFIGMAPS)
    outputs: ClassVar[tuple[GVR, ...]] = (SERVICEACCOUNTS, CONFIGMAPS)

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._ca = options.root_ca
        named = f"metadata.name={ROOT_CA}"
        self._cas: Informer[str] = Informer(env.client, CONFIGMAPS, _data, field_selector=named)
        self._accounts: Informer[bool] = Informer(
            env.client, SERVICEACCOUNTS, lambda _: True, field_selector="metadata.name=default"
        )
        env.views.namespaces.subscribe(self._namespace_changed)
        self._cas.subscribe(self._content_changed)
        self._accounts.subscribe(self._content_changed)

    def _namespace_changed(self, kind: str, key: str, old: NamespaceInfo | None, new: NamespaceInfo | None) -> None:
        if new is not None and not new.deleting:
            self.queue.add(key)

    def _content_changed(self, kind: str, key: str, old: object, new: object) -> None:
        if kind == "DELETED" or (isinstance(new, str) and new != self._ca):
            self.queue.add(split_key(key)[0])

    async def run(self) -> None:
        """Until cancelled, with its own two informers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cas.run())
            group.create_task(self._accounts.run())
            await self._cas.synced()
            await self._accounts.synced()
            await super().run()

    async def reconcile(self, key: str) -> float | None:
        """Both things, in one namespace."""
        info = self.views.namespaces.get(key)
        if info is None or info.deleting:
            return None
        try:
            if self._accounts.get(f"{key}/default") is None:
                account: Obj = {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": "default", "namespace": key},
                }
                await self._ensure(SERVICEACCOUNTS, account)
            if self._ca and self._cas.get(f"{key}/{ROOT_CA}") != self._ca:
                await self._ensure(CONFIGMAPS, self._configmap(key))
        except (Forbidden, NotFound) as error:
            again = self.views.namespaces.get(key)
            if again is None or again.deleting:
                return None
            raise ApiError(error.message) from error
        return None

    def _configmap(self, namespace: str) -> Obj:
        notes = {
            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when "
            "using internal endpoints such as the internal service IP or kubernetes.default.svc. "
            "No other usage is guaranteed across distributions of Kubernetes clusters."
        }
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ROOT_CA, "namespace": namespace, "annotations": notes},
            "data": {"ca.crt": self._ca},
        }

    async def _ensure(self, gvr: GVR, obj: Obj) -> None:
        m = obj["metadata"]
        try:
            await self.client.create(gvr, obj, m["namespace"])
        except AlreadyExists:
            if "data" in obj:
                await self.client.patch(gvr, m["name"], {"data": obj["data"]}, m["namespace"])
