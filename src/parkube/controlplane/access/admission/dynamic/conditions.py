"""Match conditions: the CEL expressions that narrow down what a webhook or a policy is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from parkube.controlplane.registry.cel import CelError, compiled
from parkube.kubeapi.errors import Obj

VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables", "authorizer")


class Undecided(Exception):
    """A condition could not be evaluated, and none said no."""


def hold(conditions: Iterable[Obj], values: dict[str, Any]) -> bool:
    """Whether all are true; one that is false decides, whatever else went wrong. Raises `Undecided`."""
    failed = ""
    for condition in conditions:
        try:
            if not compiled(condition.get("expression") or "", VARIABLES).holds(values):
                return False
        except CelError as error:
            failed = failed or f"{condition.get('name')}: {error}"
    if failed:
        raise Undecided(failed)
    return True
