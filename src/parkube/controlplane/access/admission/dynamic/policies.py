"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy with their bindings: CEL asked in this process.

Source: Kubernetes documentation, "Validating Admission Policy" and "Mutating Admission Policy".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from parkube.controlplane.access.admission.dynamic import conditions, matching
from parkube.controlplane.access.admission.dynamic.attributes import Write
from parkube.controlplane.access.admission.dynamic.conditions import VARIABLES
from parkube.controlplane.access.admission.plugin import refused
from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.cel import CelError, compiled
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi import patches
from parkube.kubeapi.errors import ApiError, Obj
from parkube.kubeapi.objects import copy

_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}
_MUTATING = (*VARIABLES, "Object")

Params = Callable[[Obj, Obj, str], Awaitable["list[Obj | None] | None"]]
"""(paramKind, paramRef, namespace of the write) -> the parameters; None when there are none and that is a fault."""


class Rule(NamedTuple):
    """A policy under one binding."""

    policy: Obj
    binding: Obj

    @property
    def called(self) -> str:
        """As messages name it."""
        kind = self.policy.get("kind") or "ValidatingAdmissionPolicy"
        return f"{kind} '{self.policy['metadata']['name']}' with binding '{self.binding['metadata']['name']}'"


class Rules:
    """Policies of one kind and their bindings; fed by events."""

    def __init__(self) -> None:
        self._policies: dict[str, Obj] = {}
        self._bindings: dict[str, Obj] = {}
        self.active: list[Rule] = []

    def put(self, obj: Obj) -> None:
        """A policy or a binding exists, as it now is."""
        self._of(obj)[obj["metadata"]["name"]] = obj
        self._order()

    def drop(self, obj: Obj) -> None:
        """It is gone."""
        self._of(obj).pop(obj["metadata"]["name"], None)
        self._order()

    def _of(self, obj: Obj) -> dict[str, Obj]:
        return self._bindings if str(obj.get("kind")).endswith("Binding") else self._policies

    def _order(self) -> None:
        self.active = [
            Rule(policy, binding)
            for _, binding in sorted(self._bindings.items())
            if (policy := self._policies.get((binding.get("spec") or {}).get("policyName") or "")) is not None
        ]


class Policies:
    """Evaluates what is active."""

    def __init__(self, params: Params) -> None:
        self.validating, self.mutating = Rules(), Rules()
        self._params = params

    async def validate(self, write: Write) -> None:
        """Raises the first refusal; warns where a binding says so."""
        for rule in self.validating.active:
            async for values in self._occasions(rule, write):
                self._judge(rule, write, values)

    async def mutate(self, write: Write, settle: Callable[[Obj], None]) -> None:
        """Change `write.new`; `settle` brings a changed object into its kind's form."""
        if write.new is None:
            return
        changed_by: set[int] = set()
        for again in (False, True):
            for at, rule in enumerate(self.mutating.active):
                spec = rule.policy.get("spec") or {}
                if again and (spec.get("reinvocationPolicy") != "IfNeeded" or changed_by <= {at}):
                    continue
                async for values in self._occasions(rule, write):
                    for mutation in spec.get("mutations") or ():
                        if self._mutate(rule, write, mutation, values, settle):
                            changed_by.add(at)

    async def _occasions(self, rule: Rule, write: Write) -> AsyncIterator[dict[str, Any]]:
        """The values to evaluate with, once for each parameter; none when the rule is not about the write."""
        spec, bound = rule.policy.get("spec") or {}, rule.binding.get("spec") or {}
        match = spec.get("matchConstraints") or {}
        row = matching.match(write, match.get("resourceRules") or (), match)
        narrower = bound.get("matchResources")
        if row is not None and narrower:
            rules = narrower.get("resourceRules") or match.get("resourceRules") or ()
            row = row if matching.match(write, rules, narrower) is not None else None
        if row is None:
            return
        found: list[Obj | None] | None = [None]
        if spec.get("paramKind"):
            found = await self._params(spec["paramKind"], bound.get("paramRef") or {}, write.namespace)
        if found is None:
            self._fail(rule, write, "no params found for policy binding with `Deny` parameterNotFoundAction")
            return
        for param in found:
            values = await self._values(spec, write, row, param)
            try:
                if conditions.hold(spec.get("matchConditions") or (), values):
                    yield values
            except conditions.Undecided as error:
                self._fail(rule, write, str(error))

    async def _values(self, spec: Obj, write: Write, row: Resource, param: Obj | None) -> dict[str, Any]:
        new, old = await write.in_version(row)
        values: dict[str, Any] = {
            "object": new, "oldObject": old, "request": write.request(row, ""), "params": param,
            "namespaceObject": write.namespace_object or None, "variables": {}, "authorizer": write.rights,
        }  # fmt: skip
        for variable in spec.get("variables") or ():
            try:
                found = compiled(variable.get("expression") or "", VARIABLES).evaluate(values)
            except CelError:
                continue  # an error only where it is asked for, as with the API's own
            values["variables"] = {**values["variables"], variable["name"]: found}
        return values

    def _judge(self, rule: Rule, write: Write, values: dict[str, Any]) -> None:
        for check in (rule.policy.get("spec") or {}).get("validations") or ():
            try:
                if compiled(check.get("expression") or "", VARIABLES).holds(values):
                    continue
            except CelError as error:
                self._fail(rule, write, f"expression '{check.get('expression')}' resulted in error: {error}")
                continue
            words = _message(check, values)
            self._act(rule, write, words, check.get("reason") or "Invalid")

    def _act(self, rule: Rule, write: Write, words: str, reason: str) -> None:
        actions = (rule.binding.get("spec") or {}).get("validationActions") or ["Deny"]
        if "Warn" in actions:
            write.context.warnings.append(f"Validation failed for {rule.called}: {words}")
        if "Deny" in actions:
            raise _refusal(write, f"{rule.called} denied request: {words}", reason)

    def _fail(self, rule: Rule, write: Write, words: str) -> None:
        """A policy that cannot be evaluated: refuses, unless it is to be ignored then."""
        if (rule.policy.get("spec") or {}).get("failurePolicy") != "Ignore":
            self._act(rule, write, words, "Invalid")

    def _mutate(
        self, rule: Rule, write: Write, mutation: Obj, values: dict[str, Any], settle: Callable[[Obj], None]
    ) -> bool:
        assert write.new is not None
        values["object"] = write.new
        kind = "jsonPatch" if mutation.get("patchType") == "JSONPatch" else "applyConfiguration"
        try:
            patch = compiled((mutation.get(kind) or {}).get("expression") or "", _MUTATING).evaluate(values)
            changed = _applied(write, kind, patch)
        except (CelError, ApiError) as error:
            self._fail(rule, write, str(error))
            return False
        settle(changed)
        if changed == write.new:
            return False
        write.new.clear()
        write.new.update(changed)
        return True


def _applied(write: Write, kind: str, patch: Any) -> Obj:
    assert write.new is not None
    if kind == "jsonPatch":
        if not isinstance(patch, list):
            raise CelError("the expression is not a list of JSONPatch")
        return patches.json_patch(write.new, patch)
    if not isinstance(patch, dict):
        raise CelError("the expression is not an Object")
    shape = schemas.shape(write.row)
    if shape is None:
        return patches.merge_patch(copy(write.new), patch)
    return patches.strategic_merge(write.new, patch, shape)


def _message(check: Obj, values: dict[str, Any]) -> str:
    if check.get("messageExpression"):
        try:
            said = compiled(check["messageExpression"], VARIABLES).evaluate(values)
        except CelError:
            said = ""
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said
    return str(check.get("message") or f"failed expression: {check.get('expression')}").strip()


def _refusal(write: Write, words: str, reason: str) -> ApiError:
    error = refused(write.row, write.name, words)
    error.reason, error.code = reason, _CODES.get(reason, 422)
    return error
