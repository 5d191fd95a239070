"""Deployment, ReplicaSet, DaemonSet, ControllerRevision: rows, defaults and rules."""

from __future__ import annotations

from typing import Any, ClassVar

from parkube.controlplane.registry.columns import apps as columns
from parkube.controlplane.registry.kinds import checks, faults, podspec
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, PlainStrategy, child, fill
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj
from parkube.kubeapi.selectors import LabelSelector

SCALE_PATHS = (".spec.replicas", ".status.replicas", ".spec.selector")

DEPLOYMENT: Defaults = {"replicas": 1, "strategy": {}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
ROLLING: Defaults = {"maxUnavailable": "25%", "maxSurge": "25%"}
REPLICA_SET: Defaults = {"replicas": 1}
DAEMON_SET: Defaults = {"updateStrategy": {}, "revisionHistoryLimit": 10}
DAEMON_ROLLING: Defaults = {"maxUnavailable": 1, "maxSurge": 0}
STRATEGY: Defaults = {"type": "RollingUpdate"}


class WorkloadStrategy(KindStrategy):
    """What kinds with a selector and a pod template share: the selector stays, and matches the template."""

    generation = True
    kind: ClassVar[str] = ""
    selector_stays: ClassVar[bool] = True

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        podspec.default_template(spec.get("template"))
        self.default_more(spec)

    def default_more(self, spec: Obj) -> None:
        """Defaults below the first level."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status":
            return _status_faults(obj.get("status") or {})
        spec = obj.get("spec") or {}
        before = (old or {}).get("spec") or {}
        if old is not None and spec == before:
            return []
        found = checks.not_negative(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
        found += self._selector_and_template(spec, before)
        if old is not None and self.selector_stays and spec.get("selector") != before.get("selector"):
            found.append(faults.immutable("spec.selector", spec.get("selector")))
        return found + self.more_faults(spec)

    def more_faults(self, spec: Obj) -> list[Cause]:
        """The kind's own rules."""
        return []

    def _selector_and_template(self, spec: Obj, before: Obj) -> list[Cause]:
        selector, template = spec.get("selector"), spec.get("template")
        found: list[Cause] = []
        good = False
        if not isinstance(selector, dict):
            found.append(faults.required("spec.selector"))
        elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
            found.append(faults.invalid("spec.selector", selector, f"empty selector is invalid for {self.kind}"))
        else:
            broken = checks.label_selector(selector, "spec.selector")
            found += broken
            good = not broken
        if not isinstance(template, dict):
            return [*found, faults.required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels") or {}
        if good and isinstance(selector, dict) and not LabelSelector.from_object(selector).matches(labels):
            words = "`selector` does not match template `labels`"
            found.append(faults.invalid("spec.template.metadata.labels", labels, words))
        if template != before.get("template"):
            found += podspec.template_faults(template, "spec.template", self.kind_name)
        return found

    @property
    def kind_name(self) -> str:
        """`ReplicaSet`, as messages have it."""
        return _KIND_NAMES.get(self.kind, "")


_KIND_NAMES = {
    "deployment": "Deployment", "replicaset": "ReplicaSet", "daemonset": "DaemonSet", "statefulset": "StatefulSet",
}  # fmt: skip


def _status_faults(status: Obj) -> list[Cause]:
    keys = [key for key, value in status.items() if isinstance(value, int) and not isinstance(value, bool)]
    found = checks.not_negative(status, "status", *keys)
    replicas = status.get("replicas") or 0
    for key in ("readyReplicas", "availableReplicas", "fullyLabeledReplicas"):
        if (status.get(key) or 0) > replicas:
            found.append(
                faults.invalid(f"status.{key}", status.get(key) or 0, "cannot be greater than status.replicas")
            )
    return found


class DeploymentStrategy(WorkloadStrategy):
    """Rolls out by a surge and a number that may be away."""

    kind = "deployment"
    status_keeps = ("labels",)
    spec_defaults = DEPLOYMENT
    rolling: ClassVar[Defaults] = ROLLING

    def default_more(self, spec: Obj) -> None:
        strategy = child(spec, "strategy")
        fill(strategy, STRATEGY)
        if strategy["type"] == "RollingUpdate":
            fill(child(strategy, "rollingUpdate"), self.rolling)

    def more_faults(self, spec: Obj) -> list[Cause]:
        found = _rolling_faults(spec.get("strategy") or {}, "spec.strategy", "Recreate")
        deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
        if deadline is not None:
            found += checks.not_negative(spec, "spec", "progressDeadlineSeconds")
            if deadline <= ready:
                words = "must be greater than minReadySeconds"
                found.append(faults.invalid("spec.progressDeadlineSeconds", deadline, words))
        return found


def _rolling_faults(strategy: Obj, path: str, other: str) -> list[Cause]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == other:
        words = f"may not be specified when strategy `type` is '{other}'"
        return [faults.forbidden(f"{path}.rollingUpdate", words)] if rolling is not None and other == "Recreate" else []
    if kind != "RollingUpdate":
        return [faults.unsupported(f"{path}.type" if other == "Recreate" else path, kind, ("RollingUpdate", other))]
    rolling = rolling or {}
    here = f"{path}.rollingUpdate"
    found: list[Cause] = []
    for key in ("maxUnavailable", "maxSurge"):
        if rolling.get(key) is not None:
            found += checks.count_or_percent(rolling[key], f"{here}.{key}")
    if not found and _nothing(rolling.get("maxUnavailable")) and _nothing(rolling.get("maxSurge")):
        words = "may not be 0 when `maxSurge` is 0"
        found.append(faults.invalid(f"{here}.maxUnavailable", rolling.get("maxUnavailable"), words))
    return found


def _nothing(value: Any) -> bool:
    return value in (None, 0, "0%")


class ReplicaSetStrategy(WorkloadStrategy):
    """A number of pods of one template."""

    kind = "replicaset"
    spec_defaults = REPLICA_SET
    first_status = {"replicas": 0}


class DaemonSetStrategy(WorkloadStrategy):
    """A pod on every node that fits."""

    kind = "daemonset"
    spec_defaults = DAEMON_SET
    first_status = dict.fromkeys(
        ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"), 0
    )

    def default_more(self, spec: Obj) -> None:
        strategy = child(spec, "updateStrategy")
        fill(strategy, STRATEGY)
        if strategy["type"] == "RollingUpdate":
            fill(child(strategy, "rollingUpdate"), DAEMON_ROLLING)

    def more_faults(self, spec: Obj) -> list[Cause]:
        return _rolling_faults(spec.get("updateStrategy") or {}, "spec.updateStrategy", "OnDelete")


class ControllerRevisionStrategy(PlainStrategy):
    """A snapshot: its data stays."""

    immutable = ("data",)

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        return checks.not_negative({"revision": new.get("revision") or 0}, "", "revision")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "apps", "v1", "controllerrevisions", "ControllerRevision", ControllerRevisionStrategy(),
            columns=columns.CONTROLLER_REVISION,
        ),
        row(
            "apps", "v1", "daemonsets", "DaemonSet", DaemonSetStrategy(), short="ds", categories=("all",),
            subresources=("status",), columns=columns.DAEMON_SET,
        ),
        row(
            "apps", "v1", "deployments", "Deployment", DeploymentStrategy(), short="deploy", categories=("all",),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS, columns=columns.DEPLOYMENT,
        ),
        row(
            "apps", "v1", "replicasets", "ReplicaSet", ReplicaSetStrategy(), short="rs", categories=("all",),
            subresources=("status", "scale"), scale_paths=SCALE_PATHS, fields=(label("status.replicas", "0"),),
            columns=columns.REPLICA_SET,
        ),
    ]  # fmt: skip
