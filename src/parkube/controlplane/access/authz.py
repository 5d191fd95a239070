"""May this user do that? The chain of authorizers and the words of the refusal.

It decides; it does not know who is asking (authn) nor what is in the object (admission).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import BadRequest, Forbidden
from parkube.kubeapi.selectors import FieldSelector

MASTERS = "system:masters"


class Attributes(NamedTuple):
    """What is asked for. A request for a resource has `resource`, any other has `path`.

    `field_selector` is the raw selector of a list, watch or deletecollection: the node authorizer needs it.
    """

    user: User
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""


class Decision(NamedTuple):
    """The answer, and why: the reason is what `kubectl auth can-i` and a refusal print."""

    allowed: bool
    reason: str = ""


NO_OPINION = Decision(False)


class Authorizes(Protocol):
    """One member of the chain. Not allowed means no opinion: the next one is asked."""

    def authorize(self, attributes: Attributes) -> Decision: ...


@functools.lru_cache(maxsize=8192)
def name_in_selector(selector: str, field: str = "metadata.name") -> str:
    """The value that a field selector demands of `field`, or the empty string."""
    try:
        return FieldSelector.parse(selector).required(field) or ""
    except BadRequest:
        return ""


class Authorizer:
    """`system:masters` may do all; then each member is asked in turn; the first yes counts."""

    def __init__(self, members: Sequence[Authorizes]) -> None:
        self._members = tuple(members)

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide. Never raises; a refusal carries the reasons of those who had one."""
        if MASTERS in attributes.user.groups:
            return Decision(True)
        if attributes.field_selector and not attributes.name and attributes.resource:
            # Asking for a list of one object is asking for that object.
            attributes = attributes._replace(name=name_in_selector(attributes.field_selector))
        reasons = []
        for member in self._members:
            decision = member.authorize(attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, ", ".join(reasons))

    def require(self, attributes: Attributes) -> None:
        """Raise `Forbidden` in the API's words unless it is allowed."""
        decision = self.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)


def forbidden(attributes: Attributes, reason: str = "") -> Forbidden:
    """The refusal as kubectl's users know it."""
    user, verb = attributes.user.name, attributes.verb
    tail = f": {reason}" if reason else ""
    if not attributes.resource:
        return Forbidden(f'forbidden: User "{user}" cannot {verb} path "{attributes.path}"{tail}')
    resource = attributes.resource
    subject = f"{resource}.{attributes.group}" if attributes.group else resource
    if attributes.name:
        subject = f'{subject} "{attributes.name}"'
    asked = f"{resource}/{attributes.subresource}" if attributes.subresource else resource
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user}" cannot {verb} resource "{asked}" '
        f'in API group "{attributes.group}" {where}{tail}'
    )
    details = {"name": attributes.name, "group": attributes.group, "kind": resource}
    return Forbidden(message, details={key: value for key, value in details.items() if value})
