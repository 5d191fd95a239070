"""admissionregistration.k8s.io: webhooks and policies as objects: rows, defaults, rules. Nothing here calls."""

from __future__ import annotations

import re
from collections.abc import Iterable

from parkube.controlplane.registry.cel import CelError, compiled
from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column, count
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, PlainStrategy, child, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "admissionregistration.k8s.io"
HOOK: Defaults = {
    "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
    "timeoutSeconds": 10,
}  # fmt: skip
MATCH: Defaults = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
OPERATIONS = ("*", "CREATE", "UPDATE", "DELETE", "CONNECT")
_FAILURE = ("Fail", "Ignore")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}")
_VERSIONS = ("v1", "v1beta1")


class WebhooksStrategy(PlainStrategy):
    """A list of webhooks. `mutating` ones may be called again."""

    unconditional = False
    generation = True
    mutating = False

    def default(self, obj: Obj) -> None:
        for hook in obj.get("webhooks") or ():
            fill(hook, HOOK)
            if self.mutating:
                fill(hook, {"reinvocationPolicy": "Never"})
            for rule in hook.get("rules") or ():
                fill(rule, {"scope": "*"})
            service = (hook.get("clientConfig") or {}).get("service")
            if isinstance(service, dict):
                fill(service, {"port": 443})

    def moved(self, new: Obj, old: Obj) -> bool:
        return new.get("webhooks") != old.get("webhooks")

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found: list[Cause] = []
        names: set[str] = set()
        before = {str(hook) for hook in (old or {}).get("webhooks") or ()}
        for number, hook in enumerate(obj.get("webhooks") or ()):
            path = f"webhooks[{number}]"
            if str(hook) not in before:
                found += _hook_faults(hook, path)
            if hook.get("name") in names:
                found.append(faults.duplicate(f"{path}.name", hook["name"]))
            names.add(hook.get("name") or "")
        return found


def _hook_faults(hook: Obj, path: str) -> list[Cause]:
    name = hook.get("name") or ""
    found: list[Cause] = []
    if not _NAME.fullmatch(name):
        words = "should be a domain with at least three segments separated by dots"
        found.append(faults.invalid(f"{path}.name", name, words))
    for number, rule in enumerate(hook.get("rules") or ()):
        found += rule_faults(rule, f"{path}.rules[{number}]")
    found += checks.one_of(hook.get("failurePolicy"), f"{path}.failurePolicy", _FAILURE)
    found += checks.one_of(hook.get("matchPolicy"), f"{path}.matchPolicy", ("Exact", "Equivalent"))
    effects = hook.get("sideEffects")
    if effects not in ("None", "NoneOnDryRun"):
        found.append(faults.unsupported(f"{path}.sideEffects", effects or "", ("None", "NoneOnDryRun")))
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 0 < timeout <= 30:
        words = "the timeout value must be between 1 and 30 seconds"
        found.append(faults.invalid(f"{path}.timeoutSeconds", timeout, words))
    for key in ("namespaceSelector", "objectSelector"):
        found += checks.label_selector(hook.get(key) or {}, f"{path}.{key}")
    found += client_faults(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    found += expression_faults(hook.get("matchConditions") or (), f"{path}.matchConditions")
    reviews = hook.get("admissionReviewVersions") or []
    if not any(version in _VERSIONS for version in reviews):
        words = f"must include at least one of {', '.join(_VERSIONS)}"
        path = f"{path}.admissionReviewVersions"
        found.append(faults.invalid(path, reviews, words) if reviews else faults.required(path, words))
    return found


_VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables", "authorizer")


def expression_faults(holders: Iterable[Obj], path: str, *extra: str) -> list[Cause]:
    """Expressions of a list that are missing or cannot be compiled."""
    found: list[Cause] = []
    for number, holder in enumerate(holders):
        found += _expression(holder.get("expression") or "", f"{path}[{number}].expression", *extra)
        if holder.get("messageExpression"):
            found += _expression(holder["messageExpression"], f"{path}[{number}].messageExpression", *extra)
    return found


def _expression(text: str, path: str, *extra: str) -> list[Cause]:
    if not text.strip():
        return [faults.required(path, "expression is not specified")]
    try:
        compiled(text, (*_VARIABLES, *extra))
    except CelError as error:
        return [faults.invalid(path, text, f"compilation failed: {error}")]
    return []


def client_faults(client: Obj, path: str) -> list[Cause]:
    """How a webhook is reached: a URL or a service, one of both."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [faults.required(path, "exactly one of url or service is required")]
    if url is not None and not str(url).startswith("https://"):
        return [
            faults.invalid(
                f"{path}.url", url, "'https' is the only allowed URL scheme; desired format: https://host[/path]"
            )
        ]
    found = []
    if service is not None:
        found += [faults.required(f"{path}.service.{key}") for key in ("name", "namespace") if not service.get(key)]
        found += checks.port_number(service.get("port", 443), f"{path}.service.port")
    return found


def rule_faults(rule: Obj, path: str) -> list[Cause]:
    """What a webhook or policy is asked for."""
    found = [
        faults.required(f"{path}.{key}")
        for key in ("operations", "apiGroups", "apiVersions", "resources")
        if not rule.get(key)
    ]
    for number, operation in enumerate(rule.get("operations") or ()):
        found += checks.one_of(operation, f"{path}.operations[{number}]", OPERATIONS)
    for key in ("operations", "apiGroups", "apiVersions"):
        values = rule.get(key) or []
        if "*" in values and len(values) > 1:
            words = "if '*' is present, must not specify other " + key
            found.append(faults.invalid(f"{path}.{key}", values, words))
    return found + checks.one_of(rule.get("scope"), f"{path}.scope", ("*", "Cluster", "Namespaced"))


class MutatingWebhooksStrategy(WebhooksStrategy):
    """Webhooks that may change what is written."""

    mutating = True


class PolicyStrategy(KindStrategy):
    """A policy in CEL; `status` is for the validating ones alone."""

    unconditional = False
    generation = True

    def default(self, obj: Obj) -> None:
        spec = child(obj, "spec")
        fill(spec, {"failurePolicy": "Fail"})
        default_match(spec.get("matchConstraints"))

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = checks.one_of(spec.get("failurePolicy"), "spec.failurePolicy", _FAILURE)
        match = spec.get("matchConstraints")
        if not match:
            found.append(faults.required("spec.matchConstraints"))
        elif not match.get("resourceRules"):
            found.append(faults.required("spec.matchConstraints.resourceRules"))
        else:
            for number, rule in enumerate(match["resourceRules"]):
                found += rule_faults(rule, f"spec.matchConstraints.resourceRules[{number}]")
        found += expression_faults(spec.get("matchConditions") or (), "spec.matchConditions")
        found += expression_faults(spec.get("variables") or (), "spec.variables")
        return found + self.own_faults(spec)

    def own_faults(self, spec: Obj) -> list[Cause]:
        """The kind's own rules."""
        if not spec.get("validations") and not spec.get("auditAnnotations"):
            words = "validations or auditAnnotations must contain at least one item"
            return [faults.required("spec.validations", words)]
        return expression_faults(spec.get("validations") or (), "spec.validations")


class MutatingPolicyStrategy(PolicyStrategy):
    """A policy that changes what is written."""

    status = False

    def default(self, obj: Obj) -> None:
        super().default(obj)
        fill(obj["spec"], {"reinvocationPolicy": "Never"})

    def own_faults(self, spec: Obj) -> list[Cause]:
        if not spec.get("mutations"):
            return [faults.required("spec.mutations", "mutations must contain at least one item")]
        found: list[Cause] = []
        for number, mutation in enumerate(spec["mutations"]):
            path, kind = f"spec.mutations[{number}]", mutation.get("patchType")
            found += checks.one_of(kind, f"{path}.patchType", ("ApplyConfiguration", "JSONPatch"))
            key = "jsonPatch" if kind == "JSONPatch" else "applyConfiguration"
            text = (mutation.get(key) or {}).get("expression") or ""
            found += _expression(text, f"{path}.{key}.expression", "Object")
        return found


class BindingStrategy(PlainStrategy):
    """Where a policy holds, and with which parameters."""

    unconditional = False
    generation = True
    acts = True

    def default(self, obj: Obj) -> None:
        default_match((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = [] if spec.get("policyName") else [faults.required("spec.policyName")]
        actions = spec.get("validationActions") or []
        if self.acts and not actions:
            found.append(faults.required("spec.validationActions", "at least one validation action is required"))
        for number, action in enumerate(actions):
            found += checks.one_of(action, f"spec.validationActions[{number}]", ("Deny", "Warn", "Audit"))
        if {"Deny", "Warn"} <= set(actions):
            words = "must not contain both Deny and Warn"
            found.append(faults.invalid("spec.validationActions", actions, words))
        return found


class MutatingBindingStrategy(BindingStrategy):
    """Where a mutating policy holds."""

    acts = False


def default_match(match: Obj | None) -> None:
    """Defaults of a policy's match of resources."""
    if isinstance(match, dict):
        fill(match, MATCH)
        for key in ("resourceRules", "excludeResourceRules"):
            for rule in match.get(key) or ():
                fill(rule, {"scope": "*"})


def rows() -> list[Resource]:
    """The rows of this module."""
    hooks = (NAME, column("Webhooks", count("webhooks"), "integer"), AGE)
    bindings = (NAME, column("PolicyName", at("spec", "policyName")),
                column("ParamRef", at("spec", "paramRef", "name", default="<unset>")), AGE)  # fmt: skip
    policy = column("ParamKind", at("spec", "paramKind", "kind", default="<unset>"))
    validations = (NAME, column("Validations", count("spec", "validations"), "integer"), policy, AGE)
    mutations = (NAME, column("Mutations", count("spec", "mutations"), "integer"), policy, AGE)
    plain = [
        ("mutatingadmissionpolicies", "MutatingAdmissionPolicy", MutatingPolicyStrategy(), mutations),
        ("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", MutatingBindingStrategy(), bindings),
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", MutatingWebhooksStrategy(), hooks),
        ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", PolicyStrategy(), validations),
        ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", BindingStrategy(), bindings),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", WebhooksStrategy(), hooks),
    ]
    return [
        row(
            _GROUP, "v1", plural, kind, strategy, namespaced=False, columns=columns,
            subresources=("status",) if plural == "validatingadmissionpolicies" else (),
        )
        for plural, kind, strategy, columns in plain
    ]  # fmt: skip
