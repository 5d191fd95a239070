"""The strategy that most kinds share: status apart from spec, generation, defaults and rules. No kind's own rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.resource import Strategy
from parkube.kubeapi.errors import Cause, Obj

Defaults = Mapping[str, Any]


def fill(into: Obj, defaults: Defaults) -> None:
    """Set what is absent, null or an empty string. Containers in `defaults` must be empty: each object has its own."""
    for key, value in defaults.items():
        now = into.get(key)
        if now is None or now == "":
            into[key] = value if not isinstance(value, (dict, list)) else type(value)()


def child(obj: Obj, key: str) -> Obj:
    """The object at `key`, put there empty when absent."""
    value = obj.get(key)
    if not isinstance(value, dict):
        value = obj[key] = {}
    return value


class KindStrategy(Strategy):
    """Steered by the attributes below; a kind overrides what is more than that."""

    status: ClassVar[bool] = True  # `status` is written through the status subresource alone
    first_status: ClassVar[Obj | None] = {}  # as the API's own types show it before any controller wrote one
    status_keeps: ClassVar[tuple[str, ...]] = ()  # what of metadata an update of the status leaves as it is
    generation: ClassVar[bool] = False  # `metadata.generation` counts changes of what is not metadata or status
    spec_defaults: ClassVar[Defaults] = {}
    immutable: ClassVar[tuple[str, ...]] = ()  # top-level fields that may not change at all
    rules: ClassVar[Callable[[Obj], list[Cause]] | None] = None  # every fault of the object by itself
    required_spec: ClassVar[bool] = False

    def default(self, obj: Obj) -> None:
        if self.spec_defaults:
            fill(child(obj, "spec"), self.spec_defaults)

    def prepare_create(self, obj: Obj) -> None:
        if self.status:
            obj.pop("status", None)
            if self.first_status is not None:
                obj["status"] = dict(self.first_status)
        if self.generation:
            child(obj, "metadata")["generation"] = 1

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        if subresource == "status":
            _keep_all_but_status(new, old, self.status_keeps)
            return
        if self.status and not subresource:
            _put_back(new, old, "status")
        if self.generation:
            count = old.get("metadata", {}).get("generation") or 0
            child(new, "metadata")["generation"] = count + 1 if self.moved(new, old) else count

    def moved(self, new: Obj, old: Obj) -> bool:
        """Whether the desired state changed, so that controllers must look again."""
        return new.get("spec") != old.get("spec")

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status" and old is not None:
            return self.validate_status(obj, old)
        rules = type(self).rules
        found = list(rules(obj)) if rules is not None else []
        if old is not None:
            found += [faults.immutable(f, obj.get(f)) for f in self.immutable if obj.get(f) != old.get(f)]
            found += self.validate_change(obj, old)
        return found

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        """What an update may not do."""
        return []

    def validate_status(self, new: Obj, old: Obj) -> list[Cause]:
        """What a status update may not do."""
        return []


class PlainStrategy(KindStrategy):
    """For kinds without status."""

    status = False


def _put_back(new: Obj, old: Obj, key: str) -> None:
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)


def _keep_all_but_status(new: Obj, old: Obj, kept: tuple[str, ...]) -> None:
    """Only `status` may differ, and metadata but for the fields in `kept`."""
    metadata, before = dict(new.get("metadata") or {}), old.get("metadata") or {}
    for key in kept:
        if key in before:
            metadata[key] = before[key]
        else:
            metadata.pop(key, None)
    for key in [key for key in new if key != "status"]:
        if key not in old:
            del new[key]
    for key, value in old.items():
        if key != "status":
            new[key] = value
    new["metadata"] = metadata
