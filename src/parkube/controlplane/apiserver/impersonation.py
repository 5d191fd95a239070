"""`kubectl --as`: acting as somebody else, if one may. Decides through the authorizer alone."""

from __future__ import annotations

from collections.abc import Mapping

from parkube.controlplane.access.authn import AUTHENTICATED
from parkube.controlplane.access.authz import Attributes, Authorizer
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import BadRequest

_SERVICE_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION = "authentication.k8s.io"


def impersonated(user: User, headers: Mapping[str, str], authorizer: Authorizer) -> User:
    """The user to act as; `user` itself when no Impersonate header is there. Raises Forbidden, BadRequest."""
    name = headers.get("impersonate-user", "")
    groups = tuple(g.strip() for g in headers.get("impersonate-group", "").split(",") if g.strip())
    extra = {key: value for key, value in headers.items() if key.startswith("impersonate-extra-")}
    uid = headers.get("impersonate-uid", "")
    if not name:
        if groups or extra or uid:
            raise BadRequest("requested impersonation without impersonating a user")
        return user
    asked = groups  # each one needs the right, a service account's own groups do not
    if name.startswith(_SERVICE_ACCOUNT):
        namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
        authorizer.require(Attributes(user, "impersonate", "", "serviceaccounts", "", namespace, account))
        groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    else:
        authorizer.require(Attributes(user, "impersonate", "", "users", name=name))
    for group in asked:
        authorizer.require(Attributes(user, "impersonate", "", "groups", name=group))
    if uid:
        authorizer.require(Attributes(user, "impersonate", _AUTHENTICATION, "uids", name=uid))
    more = []
    for key, value in sorted(extra.items()):
        field = key.removeprefix("impersonate-extra-")
        authorizer.require(Attributes(user, "impersonate", _AUTHENTICATION, "userextras", field, name=value))
        more.append((field, (value,)))
    if name != "system:anonymous" and AUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return User(name, groups, uid, tuple(more))
