"""Small helpers on Kubernetes objects, which are plain dicts. No schemas, no I/O, nothing of one kind."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import orjson

from parkube.kubeapi.errors import Obj

_UTC = datetime.UTC


def copy(obj: Obj) -> Obj:
    """A deep copy, by a JSON round trip: several times faster than `copy.deepcopy`."""
    result: Obj = orjson.loads(orjson.dumps(obj))
    return result


def meta(obj: Obj) -> Obj:
    """`metadata`, made when it is missing, so that what is set on it stays."""
    found = obj.get("metadata")
    if not isinstance(found, dict):
        found = obj["metadata"] = {}
    return found


def name(obj: Obj) -> str:
    """`metadata.name`, empty when there is none."""
    return (obj.get("metadata") or {}).get("name") or ""


def namespace(obj: Obj) -> str:
    """`metadata.namespace`, empty for what belongs to the cluster."""
    return (obj.get("metadata") or {}).get("namespace") or ""


def key(obj: Obj) -> str:
    """`namespace/name`, or just `name` for what belongs to the cluster: the informers' and queues' key."""
    metadata = obj.get("metadata") or {}
    space = metadata.get("namespace")
    return f"{space}/{metadata.get('name', '')}" if space else metadata.get("name") or ""


def split_key(text: str) -> tuple[str, str]:
    """The namespace and name of a `key`; the namespace is empty for what belongs to the cluster."""
    space, _, leaf = text.rpartition("/")
    return space, leaf


def uid(obj: Obj) -> str:
    """`metadata.uid`."""
    return (obj.get("metadata") or {}).get("uid") or ""


def labels(obj: Obj) -> dict[str, str]:
    """`metadata.labels`, never None; read only."""
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Obj) -> dict[str, str]:
    """`metadata.annotations`, never None; read only."""
    return (obj.get("metadata") or {}).get("annotations") or {}


def finalizers(obj: Obj) -> list[str]:
    """`metadata.finalizers`, never None; read only."""
    return (obj.get("metadata") or {}).get("finalizers") or []


def resource_version(obj: Obj) -> str:
    """`metadata.resourceVersion`, empty when the object was never stored."""
    return (obj.get("metadata") or {}).get("resourceVersion") or ""


def is_deleting(obj: Obj) -> bool:
    """Whether deletion was asked for and waits for grace or finalizers."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """The value at a path of keys and indices, or `default` where anything on the way is missing or null."""
    for step in path:
        if isinstance(obj, dict):
            obj = obj.get(step)
        elif isinstance(obj, list) and isinstance(step, int) and -len(obj) <= step < len(obj):
            obj = obj[step]
        else:
            return default
        if obj is None:
            return default
    return obj


def owner_references(obj: Obj) -> list[Obj]:
    """`metadata.ownerReferences`, never None; read only."""
    return (obj.get("metadata") or {}).get("ownerReferences") or []


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with `controller: true`, if there is one."""
    for reference in owner_references(obj):
        if reference.get("controller"):
            return reference
    return None


def owner_reference(owner: Obj, *, controller: bool = True, block: bool = True) -> Obj:
    """An owner reference to `owner`, which must carry apiVersion, kind, name and uid."""
    reference: Obj = {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner),
    }  # fmt: skip
    if controller:
        reference["controller"] = True
    if block:
        reference["blockOwnerDeletion"] = True
    return reference


def without(items: Iterable[str], dropped: str) -> list[str]:
    """The list without one entry: finalizers mostly."""
    return [item for item in items if item != dropped]


def rfc3339(seconds: float) -> str:
    """A `meta/v1` Time: UTC, whole seconds."""
    return _second(int(seconds))


@lru_cache(maxsize=256)  # a busy second is written many times
def _second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, _UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(seconds: float) -> str:
    """A `meta/v1` MicroTime, as Leases and Events carry it."""
    return datetime.datetime.fromtimestamp(seconds, _UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now_rfc3339(clock: Callable[[], float]) -> str:
    """The clock's time as a `meta/v1` Time."""
    return rfc3339(clock())


def parse_rfc3339(text: str | None) -> float:
    """Seconds since the epoch of a Time or MicroTime; 0 for an empty one. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp() if text else 0.0


def find_condition(obj: Obj, kind: str) -> Obj | None:
    """The entry of `status.conditions` with that type."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind:
            found: Obj = condition
            return found
    return None


def set_condition(conditions: list[Obj], kind: str, status: str, reason: str, message: str, now: str) -> bool:
    """Set one condition in place; `lastTransitionTime` moves only with `status`. Whether anything changed."""
    for condition in conditions:
        if condition.get("type") == kind:
            wanted = (status, reason, message)
            if (condition.get("status"), condition.get("reason"), condition.get("message")) == wanted:
                return False
            if condition.get("status") != status:
                condition["lastTransitionTime"] = now
            condition.update(status=status, reason=reason, message=message)
            return True
    conditions.append({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now})
    return True
