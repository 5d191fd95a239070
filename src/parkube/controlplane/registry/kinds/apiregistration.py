"""APIService: row and rules. Whether such a service answers, and how it is asked, is not known here."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import column
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj


class ApiServiceStrategy(KindStrategy):
    """Named `version.group`."""

    unconditional = False
    name_rule = "path"

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status":
            return []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        wanted = f"{spec.get('version') or ''}.{spec.get('group') or ''}"
        found = []
        if name != wanted:
            words = f'must be `spec.version+"."+spec.group`: {wanted}'
            found.append(faults.invalid("metadata.name", name, words))
        if not spec.get("version"):
            found.append(faults.required("spec.version"))
        if spec.get("service") and spec.get("group") and (spec.get("groupPriorityMinimum") or 0) <= 0:
            words = "must be positive and less than 20000"
            found.append(faults.invalid("spec.groupPriorityMinimum", spec.get("groupPriorityMinimum") or 0, words))
        if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
            words = "may not be true if caBundle is present"
            found.append(faults.invalid("spec.insecureSkipTLSVerify", True, words))
        return found


def _service(obj: Obj) -> str:
    service = (obj.get("spec") or {}).get("service")
    return f"{service.get('namespace')}/{service.get('name')}" if service else "Local"


def _available(obj: Obj) -> str:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            good = condition.get("status") == "True"
            return "True" if good else f"{condition.get('status')} ({condition.get('reason')})"
    return "Unknown"


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "apiregistration.k8s.io", "v1", "apiservices", "APIService", ApiServiceStrategy(), namespaced=False,
            subresources=("status",), categories=("api-extensions",),
            columns=(NAME, column("Service", _service), column("Available", _available), AGE),
        )
    ]  # fmt: skip
