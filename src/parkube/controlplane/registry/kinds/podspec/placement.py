"""Rules of where a pod may run: tolerations, node affinity, spread. Deciding where is the scheduler's."""

from __future__ import annotations

from parkube.controlplane.registry.kinds import checks, faults
from parkube.kubeapi.errors import Cause, Obj

EFFECTS = frozenset(("NoSchedule", "PreferNoSchedule", "NoExecute"))
_OPERATORS = frozenset(("Equal", "Exists", "Lt", "Gt"))
_NODE_OPERATORS = frozenset(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def toleration_faults(tolerations: list[Obj], path: str) -> list[Cause]:
    """Faults of tolerations."""
    found: list[Cause] = []
    for at, toleration in enumerate(tolerations):
        here = f"{path}[{at}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key:
            found += checks.labels({key: ""}, f"{here}.key")
        elif operator != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            found.append(faults.invalid(f"{here}.operator", toleration.get("operator") or "", words))
        found += checks.one_of(operator, f"{here}.operator", _OPERATORS)
        if operator == "Exists" and toleration.get("value"):
            found.append(
                faults.invalid(
                    f"{here}.operator", toleration["value"], "value must be empty when `operator` is 'Exists'"
                )
            )
        effect = toleration.get("effect")
        if effect:
            found += checks.one_of(effect, f"{here}.effect", EFFECTS)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(faults.invalid(f"{here}.effect", effect or "", words))
    return found


def placement_faults(spec: Obj, path: str) -> list[Cause]:
    """Faults of affinity and of spread constraints."""
    found: list[Cause] = []
    affinity = spec.get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    here = f"{path}.affinity.nodeAffinity"
    required = node.get(_REQUIRED)
    if required is not None:
        terms = required.get("nodeSelectorTerms")
        if terms is not None and not terms:
            words = "must have at least one node selector term"
            found.append(faults.required(f"{here}.{_REQUIRED}.nodeSelectorTerms", words))
        for at, term in enumerate(terms or ()):
            found += _term(term, f"{here}.{_REQUIRED}.nodeSelectorTerms[{at}]")
    for at, preferred in enumerate(node.get(_PREFERRED) or ()):
        there = f"{here}.{_PREFERRED}[{at}]"
        found += _weight(preferred, there)
        found += _term(preferred.get("preference") or {}, f"{there}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        found += _pod_affinity(affinity.get(kind) or {}, f"{path}.affinity.{kind}")
    for at, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        there = f"{path}.topologySpreadConstraints[{at}]"
        found += checks.positive(constraint, there, "maxSkew")
        if "whenUnsatisfiable" in constraint:
            allowed = ("DoNotSchedule", "ScheduleAnyway")
            found += checks.one_of(constraint["whenUnsatisfiable"], f"{there}.whenUnsatisfiable", allowed)
    return found


def _weight(preferred: Obj, path: str) -> list[Cause]:
    weight = preferred.get("weight")
    if weight is None or 1 <= weight <= 100:
        return []
    return [faults.invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _pod_affinity(affinity: Obj, path: str) -> list[Cause]:
    terms = [(f"{path}.{_REQUIRED}[{at}]", term) for at, term in enumerate(affinity.get(_REQUIRED) or ())]
    found: list[Cause] = []
    for at, preferred in enumerate(affinity.get(_PREFERRED) or ()):
        found += _weight(preferred, f"{path}.{_PREFERRED}[{at}]")
        terms.append((f"{path}.{_PREFERRED}[{at}].podAffinityTerm", preferred.get("podAffinityTerm") or {}))
    for here, term in terms:
        if term.get("topologyKey") is not None and not term["topologyKey"]:
            found.append(faults.required(f"{here}.topologyKey", "can not be empty"))
        if term.get("labelSelector"):
            found += checks.label_selector(term["labelSelector"], f"{here}.labelSelector")
    return found


def _term(term: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, rule in enumerate(term.get("matchExpressions") or ()):
        here, operator, values = f"{path}.matchExpressions[{at}]", rule.get("operator"), rule.get("values") or ()
        if operator in ("In", "NotIn") and not values:
            found.append(faults.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist") and values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(faults.forbidden(f"{here}.values", words))
        elif operator in ("Gt", "Lt") and len(values) != 1:
            words = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            found.append(faults.required(f"{here}.values", words))
        elif operator is not None and operator not in _NODE_OPERATORS:
            found.append(faults.invalid(f"{here}.operator", operator, "not a valid selector operator"))
        if rule.get("key"):
            found += checks.labels({rule["key"]: ""}, f"{here}.key")
    for at, rule in enumerate(term.get("matchFields") or ()):
        here = f"{path}.matchFields[{at}]"
        if rule.get("key") != "metadata.name":
            found.append(faults.unsupported(f"{here}.key", rule.get("key"), ("metadata.name",)))
        if rule.get("operator") not in ("In", "NotIn"):
            found.append(faults.invalid(f"{here}.operator", rule.get("operator"), "not a valid selector operator"))
        elif len(rule.get("values") or ()) != 1:
            words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            found.append(faults.required(f"{here}.values", words))
    return found
