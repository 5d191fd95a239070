"""The columns of `kubectl get`, as its users know them, one module a family of kinds. Pure functions of one object."""

from parkube.controlplane.registry.columns.cells import AGE, NAME, age, since

__all__ = ["AGE", "NAME", "age", "since"]
