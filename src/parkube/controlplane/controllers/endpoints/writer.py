"""Brings the EndpointSlices of one owner to what is wanted, with the fewest writes. Plans nothing itself."""

from __future__ import annotations

from parkube.controlplane.controllers.endpoints.plan import MANAGED_BY, SERVICE_LABEL, digest
from parkube.kubeapi.client import ENDPOINTSLICES, Client
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import split_key


class SliceWriter:
    """Knows the slices that a manager wrote, by owner (`namespace/service`), and what was in them."""

    def __init__(self, client: Client, manager: str) -> None:
        self._client, self._manager = client, manager
        self._written: dict[str, dict[str, str]] = {}  # owner -> slice's name -> digest

    def lost(self, owner: str, name: str) -> bool:
        """A slice is gone; True when that was not our doing, so that it must be written again."""
        return self._written.get(owner, {}).pop(name, None) is not None

    async def write(self, owner: str, wanted: list[Obj]) -> None:
        """Make, change and delete until there are exactly these; the names are this method's to give."""
        namespace, service = split_key(owner)
        known = await self._existing(owner)
        digests = [digest(s) for s in wanted]
        free = [name for name, had in sorted(known.items()) if had not in digests]
        have = set(known.values())
        for obj, fresh in zip(wanted, digests, strict=True):
            if fresh in have:
                continue
            if free:
                obj["metadata"]["name"] = name = free.pop()
                try:
                    await self._client.update(ENDPOINTSLICES, obj)
                    known[name] = fresh
                    continue
                except NotFound:
                    known.pop(name, None)
                    del obj["metadata"]["name"]
            obj["metadata"]["generateName"] = service + "-"
            made = await self._client.create(ENDPOINTSLICES, obj, namespace)
            known[made["metadata"]["name"]] = fresh
        for name in free:
            known.pop(name, None)  # first, so that the event of its end is no surprise
            await self._drop(namespace, name)

    async def forget(self, owner: str) -> None:
        """The owner is gone: so are its slices."""
        for name in list(await self._existing(owner)):
            await self._drop(split_key(owner)[0], name)
        self._written.pop(owner, None)

    async def _existing(self, owner: str) -> dict[str, str]:
        known = self._written.get(owner)
        if known is None:
            namespace, service = split_key(owner)
            selector = f"{SERVICE_LABEL}={service},{MANAGED_BY}={self._manager}"
            found = await self._client.list(ENDPOINTSLICES, namespace, label_selector=selector)
            known = self._written[owner] = {s["metadata"]["name"]: digest(s) for s in found.get("items") or ()}
        return known

    async def _drop(self, namespace: str, name: str) -> None:
        try:
            await self._client.delete(ENDPOINTSLICES, name, namespace)
        except NotFound:
            return
