"""A row of the catalogue: what the generic handlers need to know of one resource. Data and pure functions only.

Everything that is special about a kind lives in its strategy; nothing outside asks for a kind by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Cause, Obj


class User(NamedTuple):
    """Who asks. `extra` holds what access reviews pass on."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


SYSTEM = User("system:apiserver", ("system:masters",))


@dataclass(frozen=True, slots=True)
class Context:
    """What of a request the registry may look at."""

    user: User = SYSTEM
    dry_run: bool = False
    field_manager: str = ""  # empty: nobody is noted as the manager of what is written
    field_validation: str = ""  # Strict, Warn, Ignore; empty: the server's default (Warn)
    duplicates: list[str] = field(default_factory=list)  # what reading the body found named twice, in the API's words
    warnings: list[str] = field(default_factory=list)  # sent back as Warning headers


class Strategy:
    """The kind's own rules. Methods change `new` in place or return faults; none does I/O.

    Subresource names are "" for the object itself, "status", "scale", …
    """

    unconditional: ClassVar[bool] = True  # whether an update may come without the resourceVersion that it is based on
    name_rule: ClassVar[str] = "subdomain"  # or label, label1035, path (anything that fits in a URL's path)

    def default(self, obj: Obj) -> None:
        """Fill in the API's documented defaults."""

    def prepare_create(self, obj: Obj) -> None:
        """Drop what a creator may not set (usually status)."""

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        """Put back what this (sub)resource may not change; bump `metadata.generation` when the spec moved."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        """Every fault, beyond what the schema already said."""
        return []

    def volatile(self, new: Obj, old: Obj) -> bool:
        """Whether this change is a heartbeat: memory at once, disk seldom."""
        return False

    def graceful_delete(self, obj: Obj, options: Obj) -> int | None:
        """Seconds of grace with which deletion is to be marked instead of done; None: delete at once."""
        return None

    def linger(self, obj: Obj) -> bool:
        """Whether a deleted object must stay for more than `metadata.finalizers`; may mark `obj` (its phase)."""
        return False


class Converter(Protocol):
    """Makes objects of one version of another, where a function of the row's own cannot."""

    async def convert(self, objects: list[Obj], api_version: str) -> list[Obj]:
        """The objects in that version, in their order; those that are in it come back as they are. Raises ApiError."""
        ...  # fmt: skip


class Column(NamedTuple):
    """A column of `kubectl get`: a `TableColumnDefinition` and how to fill its cell."""

    name: str
    type: str  # string, integer, number, boolean, date
    cell: Callable[[Obj], Any]
    format: str = ""
    description: str = ""
    priority: int = 0  # above 0: only with -o wide


class FieldLabel(NamedTuple):
    """A field that field selectors may ask for."""

    path: str  # e.g. spec.nodeName
    of: Callable[[Obj], str]


@dataclass(slots=True)
class Resource:
    """One served (group, version, resource). Several versions of a kind share `storage`, and so its objects."""

    gvr: GVR
    kind: str
    singular: str
    namespaced: bool
    strategy: Strategy
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = (
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    )  # fmt: skip
    subresources: tuple[str, ...] = ()  # "status", "scale", "eviction", "binding", "token", "log", "exec", …
    columns: tuple[Column, ...] = ()
    fields: tuple[FieldLabel, ...] = ()  # metadata.name and metadata.namespace are always there
    stored_fields: Mapping[str, str] = field(default_factory=dict)  # what the stored version calls a field, if not so
    schema: Obj | None = None  # structural OpenAPI schema; None: the built-in definition of this GVK
    storage: GVR | None = None  # where the objects live, when not under this GVR
    to_storage: Callable[[Obj], Obj] | None = None  # conversions when `storage` is another version
    from_storage: Callable[[Obj], Obj] | None = None
    converter: Converter | None = None  # asked before those two
    scale_paths: tuple[str, str, str] | None = None  # JSON paths: spec replicas, status replicas, selector
    virtual: bool = False  # created only, answered by a handler, never stored (reviews)
    crd: str = ""  # name of the CustomResourceDefinition this row comes from
    list_kind: str = ""

    def __post_init__(self) -> None:
        self.list_kind = self.list_kind or self.kind + "List"

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.gvr.group}/{self.gvr.version}" if self.gvr.group else self.gvr.version

    @property
    def stored_at(self) -> GVR:
        """The GVR whose keys hold the objects."""
        return self.storage or self.gvr

    @property
    def prefix(self) -> str:
        """The store's key prefix: `/apps/deployments/`; version-free, so that versions share objects."""
        at = self.stored_at
        return f"/{at.group or 'core'}/{at.resource}/"

    def key(self, namespace: str, name: str) -> str:
        """The store's key of one object."""
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"


class Admission(Protocol):
    """Runs twice: `admit` between defaulting and validation, `check` on what has been found valid.

    Both may refuse by raising an `ApiError`; only `admit` may change the object.
    """

    async def admit(
        self,
        operation: str,
        resource: Resource,
        subresource: str,
        namespace: str,
        name: str,
        new: Obj | None,
        old: Obj | None,
        context: Context,
    ) -> None:
        """`operation` is CREATE, UPDATE or DELETE (for DELETE `new` is None)."""
        ...  # fmt: skip

    async def check(
        self,
        operation: str,
        resource: Resource,
        subresource: str,
        namespace: str,
        name: str,
        new: Obj | None,
        old: Obj | None,
        context: Context,
    ) -> None:
        """The last word, on the object as it is to be stored."""
        ...  # fmt: skip
