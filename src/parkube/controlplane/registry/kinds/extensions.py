"""extensions/v1beta1 Deployment, as the field's tutorials write it: converted, and kept with apps/v1's."""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.registry.columns import apps as columns
from parkube.controlplane.registry.kinds.apps import SCALE_PATHS, DeploymentStrategy
from parkube.controlplane.registry.kinds.base import Defaults
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import DEPLOYMENTS
from parkube.kubeapi.errors import Obj

ROLLBACK = "deprecated.deployment.rollback.to"
"""The annotation under which apps/v1 keeps `spec.rollbackTo.revision`."""
_FOREVER = 2147483647


def to_apps(obj: Obj) -> Obj:
    """The apps/v1 form: `spec.rollbackTo` becomes an annotation."""
    new = {**obj, "apiVersion": "apps/v1"}
    spec = dict(new.get("spec") or {})
    back = spec.pop("rollbackTo", None)
    if back is not None:
        metadata = dict(new.get("metadata") or {})
        revision = str((back or {}).get("revision") or 0)
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ROLLBACK: revision}
        new["metadata"] = metadata
    new["spec"] = spec
    return new


def from_apps(obj: Obj) -> Obj:
    """The extensions/v1beta1 form."""
    new = {**obj, "apiVersion": "extensions/v1beta1"}
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if ROLLBACK in annotations:
        rest = {key: value for key, value in annotations.items() if key != ROLLBACK}
        new["metadata"] = {**new["metadata"], "annotations": rest}
        revision = annotations[ROLLBACK]
        number = int(revision) if revision.lstrip("-").isdigit() else 0
        new["spec"] = {**(new.get("spec") or {}), "rollbackTo": {"revision": number}}
    return new


class OldDeploymentStrategy(DeploymentStrategy):
    """As apps/v1, with the defaults of its time, and a missing selector taken from the template's labels."""

    spec_defaults: ClassVar[Defaults] = {
        "replicas": 1, "strategy": {}, "revisionHistoryLimit": _FOREVER, "progressDeadlineSeconds": _FOREVER,
    }  # fmt: skip
    rolling: ClassVar[Defaults] = {"maxUnavailable": 1, "maxSurge": 1}
    selector_stays = False

    def default(self, obj: Obj) -> None:
        spec = obj.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("template"), dict):
            labels = (spec["template"].get("metadata") or {}).get("labels")
            if labels and not spec.get("selector"):
                spec["selector"] = {"matchLabels": dict(labels)}
            if labels and not (obj.get("metadata") or {}).get("labels"):
                obj.setdefault("metadata", {})["labels"] = dict(labels)
        super().default(obj)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "extensions", "v1beta1", "deployments", "Deployment", OldDeploymentStrategy(),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS, columns=columns.DEPLOYMENT,
            storage=DEPLOYMENTS, to_storage=to_apps, from_storage=from_apps,
        )
    ]  # fmt: skip
