"""One write as webhooks and policies are shown it: the request, in any version that its resource is served in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from parkube.controlplane.registry.cel import Rights
from parkube.controlplane.registry.conversion import between
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.errors import Obj

GROUP = "admissionregistration.k8s.io"
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


@dataclass(slots=True)
class Write:
    """`new` and `old` are in the version of `row`, in which the request came; `namespace_object` may be empty."""

    operation: str
    row: Resource
    subresource: str
    namespace: str
    name: str
    new: Obj | None
    old: Obj | None
    context: Context
    versions: list[Resource]  # rows that share the objects, `row` among them
    rights: Rights | None = None  # what expressions may ask of the authorizer
    namespace_object: Obj = field(default_factory=dict)

    @property
    def exempt(self) -> bool:
        """What configures admission cannot be held up by it."""
        return self.row.gvr.group == GROUP

    def candidates(self, equivalent: bool) -> Iterator[Resource]:
        """The rows by which rules may match: the request's own first."""
        yield self.row
        if equivalent:
            yield from (row for row in self.versions if row is not self.row)

    async def in_version(self, row: Resource) -> tuple[Obj | None, Obj | None]:
        """The new and the old object in that row's version; the request's own objects for its own row."""
        if row is self.row:
            return self.new, self.old
        new = None if self.new is None else await between(self.row, row, self.new)
        return new, None if self.old is None else await between(self.row, row, self.old)

    def labels(self) -> list[Obj]:
        """The labels of the new and of the old object."""
        found = [((obj or {}).get("metadata") or {}).get("labels") or {} for obj in (self.new, self.old) if obj]
        return found or [{}]

    def request(self, row: Resource, uid: str) -> Obj:
        """An `AdmissionRequest` without its objects."""
        user, kind = self.context.user, _kind(self.row)
        asked: Obj = {
            "uid": uid, "kind": _kind(row), "resource": _resource(row), "requestKind": kind,
            "requestResource": _resource(self.row), "operation": self.operation, "name": self.name,
            "userInfo": {"username": user.name, "uid": user.uid, "groups": list(user.groups)},
            "dryRun": self.context.dry_run,
        }  # fmt: skip
        if user.extra:
            asked["userInfo"]["extra"] = {key: list(values) for key, values in user.extra}
        if self.subresource:
            asked["subResource"] = asked["requestSubResource"] = self.subresource
        if self.namespace:
            asked["namespace"] = self.namespace
        elif self.row.gvr.resource == "namespaces" and not self.row.gvr.group:
            asked["namespace"] = self.name
        if self.operation in _OPTIONS:
            asked["options"] = {"apiVersion": "meta.k8s.io/v1", "kind": _OPTIONS[self.operation]}
        return asked


def _kind(row: Resource) -> Obj:
    return {"group": row.gvr.group, "version": row.gvr.version, "kind": row.kind}


def _resource(row: Resource) -> Obj:
    return {"group": row.gvr.group, "version": row.gvr.version, "resource": row.gvr.resource}
