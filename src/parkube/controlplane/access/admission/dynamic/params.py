"""The parameters of policies: the objects that a binding's `paramRef` names or selects."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.access.admission.plugin import Find
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import LabelSelector


class Parameters:
    """Finds them; `kind` says where a kind is served."""

    def __init__(self, kind: Callable[[str, str], GVR | None], find: Find) -> None:
        self._kind, self._find = kind, find

    async def __call__(self, kind: Obj, reference: Obj, namespace: str) -> list[Obj | None] | None:
        """See `policies.Params`."""
        if not reference:
            return [None]
        gvr = self._kind(kind.get("apiVersion") or "", kind.get("kind") or "")
        if gvr is None:
            return None
        objects = await self._find(gvr, reference.get("namespace") or namespace)
        name, selector = reference.get("name"), reference.get("selector")
        found: list[Obj | None] = []
        for obj in objects:
            metadata = obj["metadata"]
            if name and metadata["name"] != name:
                continue
            if selector and not LabelSelector.from_object(selector).matches(metadata.get("labels") or {}):
                continue
            found.append(obj)
        if found or reference.get("parameterNotFoundAction") == "Allow":
            return found
        return None
