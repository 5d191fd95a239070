"""FlowSchema and PriorityLevelConfiguration: rows, defaults and rules. The limits themselves are the API server's."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, child, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "flowcontrol.apiserver.k8s.io"
LIMITED: Defaults = {"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {}}
QUEUING: Defaults = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
_HIGHEST_PRECEDENCE = 10_000


class FlowSchemaStrategy(KindStrategy):
    """Which requests go to which priority level."""

    generation = True
    spec_defaults = {"matchingPrecedence": 1000}

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        precedence = spec.get("matchingPrecedence") or 0
        if precedence <= 0:
            found.append(faults.invalid("spec.matchingPrecedence", precedence, "must be a positive value"))
        if precedence > _HIGHEST_PRECEDENCE:
            words = f"must not be greater than {_HIGHEST_PRECEDENCE}"
            found.append(faults.invalid("spec.matchingPrecedence", precedence, words))
        if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
            words = "must reference a priority level"
            found.append(faults.required("spec.priorityLevelConfiguration.name", words))
        for number, rule in enumerate(spec.get("rules") or ()):
            path = f"spec.rules[{number}]"
            if not rule.get("subjects"):
                found.append(faults.required(f"{path}.subjects", "subjects must contain at least one value"))
            if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
                words = "at least one of resourceRules and nonResourceRules has to be non-empty"
                found.append(faults.required(path, words))
        return found


class PriorityLevelStrategy(KindStrategy):
    """How many requests at once."""

    generation = True

    def default(self, obj: Obj) -> None:
        spec = child(obj, "spec")
        if spec.get("type") == "Exempt":
            fill(child(spec, "exempt"), {"nominalConcurrencyShares": 0, "lendablePercent": 0})
        limited = spec.get("limited")
        if isinstance(limited, dict):
            fill(limited, LIMITED)
            response = limited["limitResponse"]
            if response.get("type") == "Queue":
                fill(child(response, "queuing"), QUEUING)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        kind = spec.get("type")
        found = checks.one_of(kind, "spec.type", ("Limited", "Exempt"))
        limited = spec.get("limited")
        if kind == "Limited" and not limited:
            found.append(faults.required("spec.limited", "must not be empty when type is Limited"))
        if kind == "Exempt" and limited:
            found.append(faults.forbidden("spec.limited", "must be nil if the type is not Limited"))
        if limited:
            found += checks.not_negative(limited, "spec.limited", "nominalConcurrencyShares", "lendablePercent")
            response = limited.get("limitResponse") or {}
            path = "spec.limited.limitResponse"
            found += checks.one_of(response.get("type"), f"{path}.type", ("Queue", "Reject"))
            if response.get("type") == "Reject" and response.get("queuing"):
                found.append(faults.forbidden(f"{path}.queuing", "must be nil if type is not Queue"))
        return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            _GROUP, "v1", "flowschemas", "FlowSchema", FlowSchemaStrategy(), namespaced=False,
            subresources=("status",),
            columns=(
                NAME, column("PriorityLevel", at("spec", "priorityLevelConfiguration", "name")),
                column("MatchingPrecedence", at("spec", "matchingPrecedence"), "integer"),
                column("DistinguisherMethod", at("spec", "distinguisherMethod", "type", default="<none>")), AGE,
            ),
        ),
        row(
            _GROUP, "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", PriorityLevelStrategy(),
            namespaced=False, subresources=("status",),
            columns=(
                NAME, column("Type", at("spec", "type")),
                column("NominalConcurrencyShares", at("spec", "limited", "nominalConcurrencyShares", default="<none>")),
                AGE,
            ),
        ),
    ]  # fmt: skip
