"""What the API wants of this node: its pods, kept small. A view, not a decision."""

from __future__ import annotations

from typing import Any

import orjson

from parkube.kubeapi.errors import Obj

_DROPPED = ("resourceVersion", "managedFields", "selfLink")


class Desired:
    """A pod as asked for. Equal to another when nothing that the agent acts on differs: its own status writes do not
    come back as changes, but somebody else's change of the pod's readiness does."""

    __slots__ = ("body", "name", "namespace", "phase", "ready", "status", "uid")

    def __init__(self, pod: Obj) -> None:
        meta = {key: value for key, value in pod["metadata"].items() if key not in _DROPPED}
        status = pod.get("status") or {}
        self.uid: str = meta.get("uid", "")
        self.namespace: str = meta.get("namespace", "")
        self.name: str = meta.get("name", "")
        self.body = bytes(orjson.dumps({"metadata": meta, "spec": pod.get("spec") or {}}))
        self.status = bytes(orjson.dumps(status))
        self.phase = str(status.get("phase") or "")
        self.ready = next((c.get("status", "") for c in status.get("conditions") or () if c.get("type") == "Ready"), "")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Desired)
            and (self.body, self.ready) == (other.body, other.ready)
            and (self.phase in _FINAL) == (other.phase in _FINAL)
        )

    __hash__ = None  # type: ignore[assignment]

    def pod(self) -> Obj:
        """The pod as an object of its own."""
        pod: Obj = orjson.loads(self.body)
        pod["apiVersion"], pod["kind"] = "v1", "Pod"
        pod["status"] = orjson.loads(self.status)
        return pod

    def kept(self) -> bytes:
        """What the checkpoint holds."""
        return orjson.dumps({"pod": orjson.loads(self.body), "status": orjson.loads(self.status)})


_FINAL = ("Succeeded", "Failed")


def restore(kept: bytes) -> Desired:
    """From the checkpoint. Raises `ValueError` when it is not what was written there."""
    content: dict[str, Any] = orjson.loads(kept)
    try:
        return Desired({**content["pod"], "status": content["status"]})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a kept pod") from error
