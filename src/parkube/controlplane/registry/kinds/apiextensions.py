"""CustomResourceDefinition: the row. Its rules, and the rows that it makes, are `registry.crd`'s."""

from __future__ import annotations

from parkube.controlplane.registry.columns import NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource, Strategy


class BareStrategy(KindStrategy):
    """What a definition has in common with other kinds."""

    generation = True


def crd_rows(strategy: Strategy | None) -> list[Resource]:
    """The row, ruled by `strategy`."""
    return [
        row(
            "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
            strategy or BareStrategy(), namespaced=False, short="crd crds", categories=("api-extensions",),
            subresources=("status",),
            columns=(NAME, column("Created At", at("metadata", "creationTimestamp"))),
        )
    ]  # fmt: skip
