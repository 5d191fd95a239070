"""LimitRanger: what containers do not say of resources is filled in, and what is said keeps within the bounds.

Source: Kubernetes documentation, "Limit Ranges".
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from parkube.controlplane.access.admission.plugin import Find, Plugin, name_of, refused
from parkube.controlplane.access.quota.usage import Amounts, pod_totals
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import LIMITRANGES, PERSISTENTVOLUMECLAIMS, PODS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.quantities import canonical, parse


class LimitRanger(Plugin):
    """Pods and claims, by the LimitRanges of their namespace."""

    kinds, operations = frozenset({PODS, PERSISTENTVOLUMECLAIMS}), frozenset({"CREATE", "UPDATE"})

    def __init__(self, find: Find) -> None:
        self._find = find

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Fills in requests and limits of a new pod's containers."""
        if subresource or new is None or resource.gvr != PODS or operation != "CREATE":
            return
        for found in await self._find(LIMITRANGES, namespace):
            for item in _items(found, "Container"):
                for container in _containers(new):
                    _fill(container, item)

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises Forbidden that names every bound that is not kept."""
        if new is None or subresource not in ("", "resize") or (resource.gvr == PODS and _same(new, old, subresource)):
            return
        found: list[str] = []
        for limits in await self._find(LIMITRANGES, namespace):
            found += faults(limits, new, resource.gvr == PODS)
        if found:
            words = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
            raise refused(resource, name_of(name, new), words)


def _same(new: Obj, old: Obj | None, subresource: str) -> bool:
    return old is not None and (not subresource or new.get("spec") == old.get("spec"))


def _items(limits: Obj, kind: str) -> list[Obj]:
    return [item for item in (limits.get("spec") or {}).get("limits") or () if item.get("type") == kind]


def _containers(pod: Obj) -> Iterator[Obj]:
    spec = pod.get("spec") or {}
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def _fill(container: Obj, item: Obj) -> None:
    resources = container.get("resources") or {}
    limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
    for key, amount in (item.get("default") or {}).items():
        limits.setdefault(key, amount)
    for key, amount in (item.get("defaultRequest") or {}).items():
        requests.setdefault(key, amount)
    filled = {"limits": limits, "requests": requests}
    container["resources"] = {**resources, **{key: value for key, value in filled.items() if value}}


def faults(limits: Obj, obj: Obj, pod: bool) -> list[str]:
    """Every bound of a LimitRange that a pod (or else a claim) does not keep, in the API's words."""
    found: list[str] = []
    if not pod:
        requests = _numbers(((obj.get("spec") or {}).get("resources") or {}).get("requests"))
        for item in _items(limits, "PersistentVolumeClaim"):
            found += _broken(item, requests, {})
        return found
    for item in _items(limits, "Container"):
        for container in _containers(obj):
            resources = container.get("resources") or {}
            found += _broken(item, _numbers(resources.get("requests")), _numbers(resources.get("limits")))
    for item in _items(limits, "Pod"):
        totals = pod_totals(obj.get("spec") or {})
        found += _broken(item, totals.requests, totals.limits)
    return found


def _numbers(amounts: Obj | None) -> Amounts:
    return {key: parse(value) for key, value in (amounts or {}).items()}


def _broken(item: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item.get("type")
    for key, text in (item.get("min") or {}).items():
        low, words = parse(text), f"minimum {key} usage per {kind} is {text}"
        if key not in requests:
            yield f"{words}.  No request is specified"
        elif requests[key] < low:
            yield f"{words}, but request is {_shown(requests[key])}"
        elif key in limits and limits[key] < low:
            yield f"{words}, but limit is {_shown(limits[key])}"
    for key, text in (item.get("max") or {}).items():
        high, words = parse(text), f"maximum {key} usage per {kind} is {text}"
        if kind == "PersistentVolumeClaim":
            if key not in requests:
                yield f"{words}.  No request is specified"
            elif requests[key] > high:
                yield f"{words}, but request is {_shown(requests[key])}"
        elif key not in limits:
            yield f"{words}.  No limit is specified"
        elif limits[key] > high:
            yield f"{words}, but limit is {_shown(limits[key])}"
        elif key in requests and requests[key] > high:
            yield f"{words}, but request is {_shown(requests[key])}"
    yield from _ratios(item, requests, limits)


def _ratios(item: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for key, text in (item.get("maxLimitRequestRatio") or {}).items():
        words = f"{key} max limit to request ratio per {item.get('type')} is {text}"
        if not requests.get(key):
            yield f"{words}, but no request is specified or request is 0"
        elif not limits.get(key):
            yield f"{words}, but no limit is specified or limit is 0"
        elif limits[key] / requests[key] > parse(text):
            yield f"{words}, but provided ratio is {limits[key] / requests[key]:f}"


def _shown(amount: Decimal) -> str:
    return canonical(f"{amount:f}")
