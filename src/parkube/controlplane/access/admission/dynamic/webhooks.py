"""Mutating and validating webhooks: asked in the order of their names, cut at their timeout, failing as they say.

Source: Kubernetes documentation, "Dynamic Admission Control".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from parkube.controlplane.access.admission.dynamic import conditions, matching
from parkube.controlplane.access.admission.dynamic.attributes import Write
from parkube.controlplane.registry.conversion import between
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi import patches
from parkube.kubeapi.errors import ApiError, BadRequest, InternalError, Obj, from_status

Call = Callable[[Obj, bytes, float], Awaitable[bytes]]
"""(clientConfig, body, timeout_s) -> the body of the answer. Raises OSError, TimeoutError, ApiError, ValueError."""
Hook = tuple[str, Obj]
"""The name of its configuration, and the webhook."""
_DRY = ("None", "NoneOnDryRun")


class Configurations:
    """The webhooks of one kind of configuration, in order; fed by events."""

    def __init__(self) -> None:
        self._found: dict[str, list[Obj]] = {}
        self.hooks: list[Hook] = []

    def put(self, configuration: Obj) -> None:
        """It exists, as it now is."""
        self._found[configuration["metadata"]["name"]] = configuration.get("webhooks") or []
        self._order()

    def drop(self, configuration: Obj) -> None:
        """It is gone."""
        self._found.pop(configuration["metadata"]["name"], None)
        self._order()

    def _order(self) -> None:
        self.hooks = [(name, hook) for name in sorted(self._found) for hook in self._found[name]]


class Webhooks:
    """Asks webhooks about writes. `call` is set before anybody is served."""

    def __init__(self, new_id: Callable[[], str], call: Call | None = None) -> None:
        self._new_id, self.call = new_id, call
        self.mutating, self.validating = Configurations(), Configurations()

    async def mutate(self, write: Write, settle: Callable[[Obj], None]) -> None:
        """Change `write.new` as the webhooks say; `settle` brings a changed object into its kind's form. Raises what
        refuses."""
        asked: list[tuple[Hook, bytes]] = []
        for hook in self.mutating.hooks:
            if await self._mutate_by(hook, write, settle) and hook[1].get("reinvocationPolicy") == "IfNeeded":
                asked.append((hook, _seen(write)))
        last = _seen(write)
        for hook, seen in asked:
            if seen != last:
                await self._mutate_by(hook, write, settle)

    async def _mutate_by(self, hook: Hook, write: Write, settle: Callable[[Obj], None]) -> bool:
        row = await self._about(hook, write)
        if row is None:
            return False
        answer = await self._ask(hook, write, row)
        patch = answer.get("patch")
        if not patch or write.new is None:
            return True
        new, _ = await write.in_version(row)
        try:
            changed = patches.json_patch(new or {}, orjson.loads(base64.b64decode(patch)))
        except (ValueError, binascii.Error, ApiError) as error:
            why = error.why if isinstance(error, patches.Unfit) else str(error)
            words = f"Internal error occurred: {hook[1]['name']}: the patch does not fit: {why}"
            raise InternalError(words) from None
        if row is not write.row:
            changed = await between(row, write.row, changed)
        settle(changed)
        write.new.clear()
        write.new.update(changed)
        return True

    async def validate(self, write: Write) -> None:
        """Ask all that match, at once. Raises what the first in order says that refuses."""
        found = [(hook, row) for hook in self.validating.hooks if (row := await self._about(hook, write)) is not None]
        answers = await asyncio.gather(*(self._ask(hook, write, row) for hook, row in found), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _about(self, hook: Hook, write: Write) -> Resource | None:
        name, spec = hook[1].get("name"), hook[1]
        row = matching.match(write, spec.get("rules") or (), spec)
        if row is None or not spec.get("matchConditions"):
            return row
        new, old = await write.in_version(row)
        values: dict[str, Any] = {
            "object": new,
            "oldObject": old,
            "request": write.request(row, ""),
            "authorizer": write.rights,
        }
        try:
            return row if conditions.hold(spec["matchConditions"], values) else None
        except conditions.Undecided as error:
            if spec.get("failurePolicy") == "Ignore":
                return None
            raise InternalError(f'Internal error occurred: failed calling webhook "{name}": {error}') from None

    async def _ask(self, hook: Hook, write: Write, row: Resource) -> Obj:
        """The response that allows; empty when the webhook failed and that is to be ignored. Raises a refusal."""
        spec = hook[1]
        name, uid = spec["name"], self._new_id()
        if write.context.dry_run and spec.get("sideEffects") not in _DRY:
            raise BadRequest(f'admission webhook "{name}" does not support dry run')
        try:
            response = await self._response(spec, write, row, uid)
        except (OSError, ValueError, ApiError, TimeoutError) as error:
            if spec.get("failurePolicy") == "Ignore":
                return {}
            why = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
            words = f'failed calling webhook "{name}": failed to call webhook: Post "{_where(spec)}": {why}'
            raise InternalError(f"Internal error occurred: {words}") from error
        write.context.warnings.extend(str(text) for text in response.get("warnings") or ())
        if not response.get("allowed"):
            raise refusal(name, response.get("status") or {})
        return response

    async def _response(self, spec: Obj, write: Write, row: Resource, uid: str) -> Obj:
        if self.call is None:
            raise OSError("webhooks are not reachable from here")
        new, old = await write.in_version(row)
        versions = spec.get("admissionReviewVersions") or ["v1"]
        version = f"admission.k8s.io/{next((v for v in versions if v in ('v1', 'v1beta1')), 'v1')}"
        request = {**write.request(row, uid), "object": new, "oldObject": old}
        body = orjson.dumps({"apiVersion": version, "kind": "AdmissionReview", "request": request})
        limit = float(spec.get("timeoutSeconds") or 10)
        async with asyncio.timeout(limit):
            answer = orjson.loads(await self.call(spec["clientConfig"], body, limit))
        response: Any = answer.get("response") if isinstance(answer, dict) else None
        if not isinstance(response, dict):
            raise ValueError("webhook response was absent")
        if answer.get("kind") != "AdmissionReview" or answer.get("apiVersion") != version:
            raise ValueError(f"expected webhook response of {version}, Kind=AdmissionReview")
        if response.get("uid") != uid:
            raise ValueError(f'expected response.uid="{uid}", got "{response.get("uid")}"')
        return response


def _where(spec: Obj) -> str:
    client, limit = spec.get("clientConfig") or {}, spec.get("timeoutSeconds") or 10
    service = client.get("service")
    if not service:
        return f"{client.get('url')}?timeout={limit}s"
    path = service.get("path") or "/"
    return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}{path}?timeout={limit}s"


def _seen(write: Write) -> bytes:
    return orjson.dumps(write.new, option=orjson.OPT_SORT_KEYS)


def refusal(name: str, status: Obj) -> ApiError:
    """What a webhook says that refuses, as the client is told it."""
    code = int(status.get("code") or 0)
    said, reason = status.get("message") or status.get("reason") or "", status.get("reason") or ""
    words = f'admission webhook "{name}" denied the request'
    told: Obj = {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code if code >= 400 else 400,
        "message": f"{words}: {said}" if said else f"{words} without explanation", "reason": reason,
    }  # fmt: skip
    if status.get("details"):
        told["details"] = status["details"]
    return from_status(told)
