"""PodTemplate: a pod's description kept for those who make pods of it. Row and rules."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import column, joined
from parkube.controlplane.registry.kinds import checks, podspec
from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj


class PodTemplateStrategy(PlainStrategy):
    """Its template is as a workload's, with any restart policy."""

    generation = True

    def default(self, obj: Obj) -> None:
        podspec.default_template(obj.get("template"))

    def moved(self, new: Obj, old: Obj) -> bool:
        return bool(new.get("template") != old.get("template"))

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        template = obj.get("template") or {}
        if old is not None and template == (old.get("template") or {}):
            return []
        labels = (template.get("metadata") or {}).get("labels")
        found = checks.labels(labels, "template.metadata.labels")
        return found + podspec.spec_faults(template.get("spec") or {}, "template.spec")


def _of_containers(key: str) -> Callable[[Obj], str]:
    def cell(obj: Obj) -> str:
        containers = ((obj.get("template") or {}).get("spec") or {}).get("containers") or ()
        return ",".join(str(container.get(key)) for container in containers)

    return cell


def _labels(obj: Obj) -> str:
    return joined(((obj.get("template") or {}).get("metadata") or {}).get("labels"))


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "podtemplates", "PodTemplate", PodTemplateStrategy(),
            columns=(
                NAME, column("Containers", _of_containers("name")), column("Images", _of_containers("image")),
                column("Pod Labels", _labels), AGE,
            ),
        )
    ]  # fmt: skip
