"""Says aloud which parts of a CustomResourceDefinition are kept but not acted upon in this version. Refuses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parkube.controlplane.access.admission.plugin import Plugin
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import CRDS
from parkube.kubeapi.errors import Obj

_CEL = "x-kubernetes-validations"


class DefinitionWarnings(Plugin):
    """A warning for each version whose schema holds CEL rules."""

    kinds, operations = frozenset({CRDS}), frozenset({"CREATE", "UPDATE"})

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Adds to `context.warnings`."""
        if subresource or new is None:
            return
        for index, version in enumerate((new.get("spec") or {}).get("versions") or ()):
            schema = (version.get("schema") or {}).get("openAPIV3Schema")
            if any(_rules(schema)):
                path = f"spec.versions[{index}].schema.openAPIV3Schema"
                context.warnings.append(f"{path}: {_CEL} are kept but not evaluated in this version")


def _rules(node: Any) -> Iterator[bool]:
    if isinstance(node, dict):
        if node.get(_CEL):
            yield True
        for below in node.values():
            yield from _rules(below)
    elif isinstance(node, list):
        for below in node:
            yield from _rules(below)
