"""DefaultTolerationSeconds: a pod stays five minutes on a node that went away, unless it says otherwise."""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Plugin
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PODS
from parkube.kubeapi.errors import Obj

SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerations(Plugin):
    """Adds the two tolerations at creation, and when an update leaves them out."""

    kinds, operations = frozenset({PODS}), frozenset({"CREATE", "UPDATE"})

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes `spec.tolerations`."""
        if subresource or new is None:
            return
        spec = new.setdefault("spec", {})
        tolerations = spec.get("tolerations") or []
        missing = [taint for taint in _TAINTS if not any(_tolerates(t, taint) for t in tolerations)]
        if missing:
            spec["tolerations"] = [*tolerations, *map(_toleration, missing)]


def _tolerates(toleration: Obj, taint: str) -> bool:
    return toleration.get("key") in (taint, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def _toleration(taint: str) -> Obj:
    return {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
