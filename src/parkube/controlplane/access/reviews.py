"""The reviews: questions to authn and authz, asked as objects that are never stored.

Handlers by GVR, each `async (Resource, Obj, Context) -> Obj`; the API server calls them for the catalogue's virtual
rows. Source: Kubernetes API reference, authentication.k8s.io/v1 and authorization.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from parkube.controlplane.access.authn import Authenticator
from parkube.controlplane.access.authz import Attributes, Authorizer
from parkube.controlplane.access.rbac import Rbac
from parkube.controlplane.access.tokens import TokenError
from parkube.controlplane.registry.resource import Context, Resource, User
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Cause, Obj, invalid

Handler = Callable[[Resource, Obj, Context], Awaitable[Obj]]

_AUTHN, _AUTHZ = "authentication.k8s.io", "authorization.k8s.io"


class Reviews:
    """The six reviews, answered from the parts that decide about real requests."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, rbac: Rbac) -> None:
        self._authenticator, self._authorizer, self._rbac = authenticator, authorizer, rbac

    def handlers(self) -> dict[GVR, Handler]:
        """By GVR."""
        return {
            GVR(_AUTHN, "v1", "tokenreviews"): self.token,
            GVR(_AUTHN, "v1", "selfsubjectreviews"): self.self_subject,
            GVR(_AUTHZ, "v1", "subjectaccessreviews"): self.subject_access,
            GVR(_AUTHZ, "v1", "localsubjectaccessreviews"): self.local_subject_access,
            GVR(_AUTHZ, "v1", "selfsubjectaccessreviews"): self.self_subject_access,
            GVR(_AUTHZ, "v1", "selfsubjectrulesreviews"): self.self_subject_rules,
        }

    async def token(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """TokenReview: whose token is this?"""
        spec = obj.get("spec") or {}
        token = spec.get("token")
        if not token:
            raise invalid(resource.kind, resource.gvr.group, "", [Cause("FieldValueRequired", "Required value", "spec.token")])  # noqa: E501  # fmt: skip
        try:
            identity = self._authenticator.authenticate_token(token, spec.get("audiences") or ())
        except TokenError as error:
            status: Obj = {"user": {}, "error": str(error)}
        else:
            status = {"authenticated": True, "user": user_info(identity.user), "audiences": identity.audiences}
        return {**obj, "status": status}

    async def self_subject(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """SelfSubjectReview: who am I?"""
        return {**obj, "status": {"userInfo": user_info(context.user)}}

    async def subject_access(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """SubjectAccessReview: may that user do this?"""
        spec = obj.get("spec") or {}
        faults = _faults(spec)
        if not spec.get("user") and not spec.get("groups"):
            faults.append(_fault("spec.user", spec.get("user", ""), "at least one of user or group must be specified"))
        return self._answer(resource, obj, _user_of(spec), faults)

    async def local_subject_access(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """LocalSubjectAccessReview: the same, about one namespace only."""
        spec = obj.get("spec") or {}
        faults = _faults(spec)
        if not spec.get("user") and not spec.get("groups"):
            faults.append(_fault("spec.user", spec.get("user", ""), "at least one of user or group must be specified"))
        namespace = (obj.get("metadata") or {}).get("namespace", "")
        asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
        if asked != namespace:
            faults.append(_fault("spec.resourceAttributes.namespace", asked, "must match metadata.namespace"))
        if spec.get("nonResourceAttributes") is not None:
            faults.append(_fault("spec.nonResourceAttributes", "", "disallowed on this kind of request"))
        return self._answer(resource, obj, _user_of(spec), faults)

    async def self_subject_access(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """SelfSubjectAccessReview: may I?"""
        return self._answer(resource, obj, context.user, _faults(obj.get("spec") or {}))

    def _answer(self, resource: Resource, obj: Obj, user: User, faults: list[Cause]) -> Obj:
        if faults:
            raise invalid(resource.kind, resource.gvr.group, "", faults)
        decision = self._authorizer.authorize(_attributes(user, obj["spec"]))
        status: Obj = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return {**obj, "status": status}

    async def self_subject_rules(self, resource: Resource, obj: Obj, context: Context) -> Obj:
        """SelfSubjectRulesReview: what may I do in this namespace?"""
        namespace = (obj.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise invalid(resource.kind, resource.gvr.group, "", [Cause("FieldValueRequired", "Required value: namespace is required", "spec.namespace")])  # noqa: E501  # fmt: skip
        rules = self._rbac.rules_of(context.user, namespace)
        resource_rules, path_rules = [], []
        for rule in rules:
            if rule.get("resources"):
                resource_rules.append(_only(rule, "verbs", "apiGroups", "resources", "resourceNames"))
            if rule.get("nonResourceURLs"):
                path_rules.append(_only(rule, "verbs", "nonResourceURLs"))
        status = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
        return {**obj, "status": status}


def user_info(user: User) -> Obj:
    """`authentication.k8s.io/v1` UserInfo."""
    info: Obj = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra}
    return info


def _user_of(spec: Obj) -> User:
    extra = tuple((key, tuple(values or ())) for key, values in (spec.get("extra") or {}).items())
    return User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""), extra)


def _attributes(user: User, spec: Obj) -> Attributes:
    asked: Obj | None = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(user, str(path.get("verb", "")), path=str(path.get("path", "")))
    words = {
        key: str(asked.get(key) or "") for key in ("verb", "group", "resource", "subresource", "namespace", "name")
    }
    return Attributes(user, **words, field_selector=_selector(asked.get("fieldSelector") or {}))


def _selector(selector: Obj) -> str:
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    equal = [r for r in selector.get("requirements") or () if r.get("operator") == "In" and len(r["values"]) == 1]
    return ",".join(f"{r['key']}={r['values'][0]}" for r in equal)


def _faults(spec: Obj) -> list[Cause]:
    if (spec.get("resourceAttributes") is None) == (spec.get("nonResourceAttributes") is None):
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [_fault("spec.resourceAttributes", None, text)]
    return []


def _fault(field: str, value: Any, text: str) -> Cause:
    shown = "null" if value is None else f'"{value}"'
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {text}", field)


def _only(rule: Obj, *keys: str) -> Obj:
    return {key: rule[key] for key in keys if rule.get(key)}
