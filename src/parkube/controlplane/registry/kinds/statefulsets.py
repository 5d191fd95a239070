"""StatefulSet: row, defaults and rules. Everything but how it is scaled and updated stays as it was made."""

from __future__ import annotations

from parkube.controlplane.registry.columns import apps as columns
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.apps import SCALE_PATHS, STRATEGY, WorkloadStrategy
from parkube.controlplane.registry.kinds.base import Defaults, child, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

SPEC: Defaults = {
    "replicas": 1, "podManagementPolicy": "OrderedReady", "updateStrategy": {}, "revisionHistoryLimit": 10,
    "persistentVolumeClaimRetentionPolicy": {},
}  # fmt: skip
RETENTION: Defaults = {"whenDeleted": "Retain", "whenScaled": "Retain"}
_MAY_MOVE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


class StatefulSetStrategy(WorkloadStrategy):
    """Pods with a number, a name and claims of their own."""

    kind = "statefulset"
    spec_defaults = SPEC
    selector_stays = False  # `validate_change` says it for all fields at once
    first_status = {"replicas": 0, "availableReplicas": 0}

    def default_more(self, spec: Obj) -> None:
        strategy = child(spec, "updateStrategy")
        fill(strategy, STRATEGY)
        if strategy["type"] == "RollingUpdate":
            fill(child(strategy, "rollingUpdate"), {"partition": 0})
        fill(child(spec, "persistentVolumeClaimRetentionPolicy"), RETENTION)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.update({"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
            fill(child(claim, "spec"), {"volumeMode": "Filesystem"})
            claim["status"] = {"phase": "Pending"}

    def more_faults(self, spec: Obj) -> list[Cause]:
        found = checks.one_of(spec.get("podManagementPolicy"), "spec.podManagementPolicy", ("OrderedReady", "Parallel"))
        strategy = spec.get("updateStrategy") or {}
        found += checks.one_of(strategy.get("type"), "spec.updateStrategy", ("RollingUpdate", "OnDelete"))
        rolling = strategy.get("rollingUpdate") or {}
        found += checks.not_negative(rolling, "spec.updateStrategy.rollingUpdate", "partition")
        if rolling.get("maxUnavailable") is not None:
            found += checks.count_or_percent(
                rolling["maxUnavailable"], "spec.updateStrategy.rollingUpdate.maxUnavailable"
            )
        found += checks.not_negative(spec.get("ordinals") or {}, "spec.ordinals", "start")
        policy = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for key in RETENTION:
            path = f"spec.persistentVolumeClaimRetentionPolicy.{key}"
            found += checks.one_of(policy.get(key), path, ("Retain", "Delete"))
        return found

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found = super().validate(obj, old, subresource)
        if old is None or subresource == "status":
            return found
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        if any(spec.get(key) != before.get(key) for key in {*spec, *before} if key not in _MAY_MOVE):
            words = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            found.append(faults.forbidden("spec", words))
        return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "apps", "v1", "statefulsets", "StatefulSet", StatefulSetStrategy(), short="sts", categories=("all",),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS, columns=columns.STATEFUL_SET,
        )
    ]  # fmt: skip
