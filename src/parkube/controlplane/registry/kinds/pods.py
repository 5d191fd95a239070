"""Pod: row and strategy. Its defaults and rules are in `podspec`, which workloads share."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns.pods import POD_COLUMNS
from parkube.controlplane.registry.kinds import faults, podspec
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.controlplane.registry.kinds.podspec import changes
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_MUTABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "containers", "initContainers")
_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodStrategy(KindStrategy):
    """Deletion is graceful; of a spec nearly nothing may change."""

    generation = True
    status_keeps = ("ownerReferences",)

    def default(self, obj: Obj) -> None:
        podspec.default_pod(obj)

    def prepare_create(self, obj: Obj) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending", "qosClass": podspec.qos_class(obj["spec"])}

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        if subresource in changes.SUBRESOURCES:
            spec = changes.take(new, old, subresource)
            super().prepare_update(new, old, "status")
            new["spec"], new["status"] = spec, old.get("status") or {}
            subresource = ""
        if subresource == "binding":  # the scheduler's choice is no new wish of the user's
            super().prepare_update(new, old, subresource)
            new["metadata"]["generation"] = (old.get("metadata") or {}).get("generation") or 1
            return
        super().prepare_update(new, old, subresource)
        if subresource == "status":
            quality = (old.get("status") or {}).get("qosClass")
            if quality:
                child(new, "status").setdefault("qosClass", quality)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec = obj.get("spec") or {}
        if old is None:
            early = [faults.forbidden("spec.ephemeralContainers", "cannot be set on create")]
            return podspec.spec_faults(spec, "spec") + (early if spec.get("ephemeralContainers") else [])
        if subresource == "status":
            return _status_faults(obj, old)
        if subresource in changes.SUBRESOURCES:
            return changes.faults_of(obj, old, subresource)
        if subresource or spec == old.get("spec"):
            return []
        return podspec.spec_faults(spec, "spec") + _change_faults(spec, old.get("spec") or {})

    def graceful_delete(self, obj: Obj, options: Obj) -> int | None:
        """The grace asked for, or the spec's; none for a pod that no agent holds, or whose containers are done."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        asked = options.get("gracePeriodSeconds")
        grace = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
        if grace == 0 or not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return None
        return max(1, int(grace))


def _status_faults(new: Obj, old: Obj) -> list[Cause]:
    after, before = new.get("status") or {}, old.get("status") or {}
    if before.get("qosClass") and after.get("qosClass") != before["qosClass"]:
        return [faults.immutable("status.qosClass", after.get("qosClass"))]
    return []


def _change_faults(new: Obj, old: Obj) -> list[Cause]:
    found: list[Cause] = []
    for kind in ("containers", "initContainers"):
        now, before = new.get(kind) or [], old.get(kind) or []
        if len(now) != len(before):
            return [faults.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")]
        if [_without_image(one) for one in now] != [_without_image(one) for one in before]:
            found.append(faults.forbidden("spec", _FIXED))
            return found
    changed = {key for key in (*new, *old) if new.get(key) != old.get(key)}
    if changed - set(_MUTABLE):
        found.append(faults.forbidden("spec", _FIXED))
    if not _only_added(new.get("tolerations") or [], old.get("tolerations") or []):
        words = "existing toleration can not be modified except its tolerationSeconds"
        found.append(faults.forbidden("spec.tolerations", words))
    deadline, before_deadline = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if before_deadline is not None and (deadline is None or deadline > before_deadline):
        words = "must be less than or equal to previous value"
        found.append(faults.invalid("spec.activeDeadlineSeconds", deadline, words))
    grace = "terminationGracePeriodSeconds"
    if grace in changed and not (new.get(grace) == 1 and (old.get(grace) or 0) < 0):
        found.append(faults.forbidden("spec", _FIXED))
    return found


def _without_image(container: Obj) -> Obj:
    return {key: value for key, value in container.items() if key != "image"}


def _only_added(new: list[Obj], old: list[Obj]) -> bool:
    def same(one: Obj) -> dict[str, Any]:
        return {key: value for key, value in one.items() if key != "tolerationSeconds"}

    kept = [same(one) for one in new]
    return all(same(one) in kept for one in old)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "pods", "Pod", PodStrategy(), short="po", categories=("all",), columns=POD_COLUMNS,
            subresources=(
                "status", "binding", "eviction", "log", "exec", "attach", "portforward", *changes.SUBRESOURCES, "proxy",
            ),
            fields=(
                label("spec.nodeName"), label("spec.restartPolicy"), label("spec.schedulerName"),
                label("spec.serviceAccountName"), label("spec.hostNetwork", "false"), label("status.phase"),
                label("status.podIP"), label("status.nominatedNodeName"),
            ),
        )
    ]  # fmt: skip
