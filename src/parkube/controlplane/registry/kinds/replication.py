"""ReplicationController: row, defaults and rules. The selector is a plain map of labels."""

from __future__ import annotations

from parkube.controlplane.registry.columns import apps as columns
from parkube.controlplane.registry.kinds import checks, faults, podspec
from parkube.controlplane.registry.kinds.apps import SCALE_PATHS
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj


class ReplicationControllerStrategy(KindStrategy):
    """A ReplicaSet's forerunner: labels and selector come from the template where they are absent."""

    generation = True
    spec_defaults = {"replicas": 1}
    first_status = {"replicas": 0}

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        template = spec.get("template")
        podspec.default_template(template)
        labels = ((template or {}).get("metadata") or {}).get("labels") or {}
        if labels and not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = child(obj, "metadata")
        if labels and not metadata.get("labels"):
            metadata["labels"] = dict(labels)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = checks.not_negative(spec, "spec", "replicas", "minReadySeconds")
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            found.append(faults.required("spec.selector"))
        if not isinstance(template, dict):
            return [*found, faults.required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()):
            words = "`selector` does not match template `labels`"
            found.append(faults.invalid("spec.template.metadata.labels", labels, words))
        if old is None or template != (old.get("spec") or {}).get("template"):
            found += podspec.template_faults(template, "spec.template", "ReplicationController")
        return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "replicationcontrollers", "ReplicationController", ReplicationControllerStrategy(), short="rc",
            categories=("all",), subresources=("status", "scale"), scale_paths=SCALE_PATHS,
            fields=(label("status.replicas", "0"),), columns=columns.REPLICATION_CONTROLLER,
        ),
    ]  # fmt: skip
