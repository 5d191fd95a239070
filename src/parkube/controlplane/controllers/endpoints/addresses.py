"""The addresses that Services have, as objects: an IPAddress for each.

They tell what admission has given out; nothing is allocated by them here. Source: Kubernetes documentation, "Service
ClusterIP allocation"; API reference, networking.k8s.io/v1 IPAddress.
"""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import ServiceInfo
from parkube.kubeapi.client import GVR, SERVICES
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import split_key

IPADDRESSES = GVR("networking.k8s.io", "v1", "ipaddresses")
_MANAGED = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}


def address(ip: str, key: str) -> Obj:
    """That `ip` is the Service's."""
    namespace, name = split_key(key)
    family = {"ipaddress.kubernetes.io/ip-family": "IPv6" if ":" in ip else "IPv4"}
    parent = {"group": "", "resource": "services", "namespace": namespace, "name": name}
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip, "labels": {**_MANAGED, **family}}, "spec": {"parentRef": parent},
    }  # fmt: skip


class ServiceAddresses(Reconciler):
    """Keeps the objects in step with the Services."""

    name: ClassVar[str] = "service-addresses"
    inputs: ClassVar[tuple[GVR, ...]] = (SERVICES,)
    outputs: ClassVar[tuple[GVR, ...]] = (IPADDRESSES,)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._held: dict[str, set[str]] | None = None  # Service -> its IPAddress objects
        env.views.services.subscribe(self._service_changed)

    def _service_changed(self, kind: str, key: str, old: ServiceInfo | None, new: ServiceInfo | None) -> None:
        if (old.ips if old else ()) != (new.ips if new else ()):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """One Service's addresses."""
        held = await self._known()
        info = self.views.services.get(key)
        wanted, mine = set(info.ips if info else ()), held.get(key, set())
        for ip in sorted(wanted - mine):
            try:
                await self.client.create(IPADDRESSES, address(ip, key))
            except AlreadyExists:  # of a Service that has just gone; whose it is cannot be changed
                found = await self.client.get(IPADDRESSES, ip)
                if found["spec"] != address(ip, key)["spec"]:
                    await self.client.delete(IPADDRESSES, ip)
                    return 0.1
            held.setdefault(key, set()).add(ip)
        for ip in sorted(mine - wanted):
            if not any(ip in others for owner, others in held.items() if owner != key):
                try:
                    await self.client.delete(IPADDRESSES, ip)
                except NotFound:
                    pass
            held[key].discard(ip)
        if key in held and not held[key]:
            del held[key]
        return None

    async def _known(self) -> dict[str, set[str]]:
        """What there is already, read once; leftovers of Services that are gone meanwhile are looked at too."""
        if self._held is None:
            selector = ",".join(f"{label}={value}" for label, value in _MANAGED.items())
            found = await self.client.list(IPADDRESSES, label_selector=selector)
            held: dict[str, set[str]] = {}
            for obj in found.get("items") or ():
                parent = (obj.get("spec") or {}).get("parentRef") or {}
                held.setdefault(f"{parent.get('namespace')}/{parent.get('name')}", set()).add(obj["metadata"]["name"])
            if self._held is None:
                self._held = held
                for owner in held:
                    self.queue.add(owner)
        return self._held
