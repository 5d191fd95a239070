"""Subresources and resources that are answered by a function of their own instead of the generic verbs. A table only.

The functions behind it live in `pods`, `node_streams` and in the access room (reviews, token requests).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.kinds.subresources import subresource
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj

Create = Callable[[Resource, str, str, Obj, Context], Awaitable[Obj]]
"""(row, namespace, name, body, context) -> the object answered with 201."""
Review = Callable[[Resource, Obj, Context], Awaitable[Obj]]
Raw = Callable[[Request, Resource, str, str], Awaitable[Response | None]]
"""(request, row, namespace, name): answers by itself, on a stream or a taken-over connection."""

_OTHER_VERSIONS = {
    "eviction": ("policy/v1", "policy/v1beta1"),
    "token": ("authentication.k8s.io/v1", "authentication.k8s.io/v1beta1"),
    "scale": ("autoscaling/v1", "extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"),
}


class Special:
    """What is special, by GVR and subresource."""

    def __init__(
        self,
        creates: Mapping[tuple[GVR, str], Create] | None = None,
        raws: Mapping[tuple[GVR, str], Raw] | None = None,
        reviews: Mapping[GVR, Review] | None = None,
    ) -> None:
        self._creates = dict(creates or {})
        self._raws = dict(raws or {})
        for gvr, review in (reviews or {}).items():
            self._creates[(gvr, "")] = _review(review)

    def answer(self, raws: Mapping[tuple[GVR, str], Raw]) -> None:
        """More that answers by itself: what needs a client, which needs all this."""
        self._raws.update(raws)

    def create(self, row: Resource, name: str) -> Create | None:
        """The function that answers a POST, if there is one."""
        answer = self._creates.get((row.gvr, name))
        return None if answer is None else _decoded(answer, name)

    def raw(self, row: Resource, subresource: str) -> Raw | None:
        """The function that answers all of a subresource's requests by itself."""
        return self._raws.get((row.gvr, subresource))

    def takes(self, subresource: str, api_version: str) -> bool:
        """Whether a body of that version is taken for the subresource, beside its own."""
        return api_version in _OTHER_VERSIONS.get(subresource, ())


def _decoded(answer: Create, name: str) -> Create:
    """`answer`, which gets bodies of its kind's form only; what is missing is for it to refuse."""

    async def create(row: Resource, namespace: str, at: str, obj: Obj, context: Context) -> Obj:
        group, version, kind, _ = subresource(row, name)
        gvk = (group, version, kind) if version else (row.gvr.group, row.gvr.version, kind)
        schemas.decode_as(gvk, obj, context)
        return await answer(row, namespace, at, obj, context)

    return create


def _review(review: Review) -> Create:
    async def create(row: Resource, namespace: str, name: str, obj: Obj, context: Context) -> Obj:
        if row.namespaced:
            obj.setdefault("metadata", {}).setdefault("namespace", namespace)
        return await review(row, obj, context)

    return create
