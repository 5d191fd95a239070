"""`serviceaccounts/token`: a token on request, bound to what the asker names. Signs through `tokens`, stores nothing.

Source: Kubernetes API reference, authentication.k8s.io/v1 TokenRequest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from parkube.controlplane.access.nodes import node_name
from parkube.controlplane.access.tokens import ServiceAccountTokens
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.client import GVR, NODES, PODS, SECRETS, SERVICEACCOUNTS
from parkube.kubeapi.errors import BadRequest, Cause, Conflict, Forbidden, NotFound, Obj, invalid
from parkube.kubeapi.objects import rfc3339

_SHORTEST, _LONGEST = 600, 1 << 32
_BINDABLE = {("v1", "Pod"): (PODS, "pod"), ("v1", "Secret"): (SECRETS, "secret"), ("v1", "Node"): (NODES, "node")}

Read = Callable[[GVR, str, str], Awaitable[Obj]]
"""(resource, namespace, name) -> the object; raises NotFound."""


class TokenRequests:
    """The handler of POST …/serviceaccounts/<name>/token."""

    def __init__(self, tokens: ServiceAccountTokens, read: Read) -> None:
        self._tokens, self._read = tokens, read

    async def create(self, namespace: str, name: str, obj: Obj, context: Context) -> Obj:
        """The TokenRequest with its status. Raises NotFound, Invalid, Conflict, Forbidden."""
        spec = obj.get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        _check_seconds(seconds)
        account = await self._read(SERVICEACCOUNTS, namespace, name)
        reference = spec.get("boundObjectRef")
        bound: dict[str, dict[str, str]] = {}
        if reference:
            bound = await self._bind(namespace, name, reference)
        self._check_node(context, bound)
        token, expires = self._tokens.issue(
            namespace, name, account["metadata"]["uid"], seconds=seconds, audiences=spec.get("audiences") or (),
            bound=bound,
        )  # fmt: skip
        audiences = spec.get("audiences") or list(self._tokens.audiences)
        return {
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": None},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference or None},
            "status": {"token": token, "expirationTimestamp": rfc3339(expires)},
        }  # fmt: skip

    async def _bind(self, namespace: str, account: str, reference: Obj) -> dict[str, dict[str, str]]:
        target = _BINDABLE.get((reference.get("apiVersion") or "v1", reference.get("kind", "")))
        if target is None:
            kinds = "supported kinds are Pod, Secret and Node"
            raise BadRequest(f"cannot bind token for serviceaccount {account!r} to {reference.get('kind')!r}: {kinds}")
        resource, claim = target
        name = str(reference.get("name") or "")
        found = await self._read(resource, "" if claim == "node" else namespace, name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            raise Conflict(
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record ({uid}). "
                "The object might have been deleted and then recreated"
            )
        bound = {claim: {"name": name, "uid": uid}}
        if claim == "pod":
            if (found["spec"].get("serviceAccountName") or "default") != account:
                raise BadRequest(
                    f"cannot bind token for serviceaccount {account!r} to pod running with different "
                    "serviceaccount name."
                )
            node = found["spec"].get("nodeName")
            if node:
                bound["node"] = {"name": node, "uid": await self._node_uid(node)}
        return bound

    async def _node_uid(self, node: str) -> str:
        try:
            return str((await self._read(NODES, "", node))["metadata"]["uid"])
        except NotFound:
            return ""

    def _check_node(self, context: Context, bound: dict[str, dict[str, str]]) -> None:
        """A node asks only for tokens bound to a pod that runs on it."""
        node = node_name(context.user)
        if not node:
            return
        if "pod" not in bound:
            raise Forbidden("node requested token not bound to a pod")
        if bound.get("node", {}).get("name") != node:
            raise Forbidden(f"node requested token bound to a pod scheduled on a different node than {node!r}")


def _check_seconds(seconds: object) -> None:
    problem = ""
    if not isinstance(seconds, int):
        problem = "must be an integer"
    elif seconds < _SHORTEST:
        problem = "may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST:
        problem = "may not specify a duration larger than 2^32 seconds"
    if problem:
        cause = Cause("FieldValueInvalid", f"Invalid value: {seconds}: {problem}", "spec.expirationSeconds")
        raise invalid("TokenRequest", "authentication.k8s.io", "", [cause])
